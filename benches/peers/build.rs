//! Builds the shim between Rust and the C library ENet.

fn main() {
    println!("cargo::rerun-if-changed=src/peer/enet/shim.c");
    #[cfg(feature = "enet")]
    enet();
}

/// The shim reads fields of ENet's structures, whose layout the C compiler knows from ENet's header. If the
/// header is missing, the compiler's message says so; Debian has it in `libenet-dev`.
#[cfg(feature = "enet")]
fn enet() {
    cc::Build::new().file("src/peer/enet/shim.c").warnings(true).compile("peers_enet_shim");
    println!("cargo::rustc-link-lib=enet");
}
