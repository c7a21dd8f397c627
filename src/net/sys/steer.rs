//! The selection of the socket of a group that gets a datagram.

use std::io;
use std::mem::size_of;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

/// Has the kernel give each datagram whose first byte has all bits of `mark` to the socket whose index, in
/// the order of binding, is in the datagram's byte at `at`. All other datagrams, including those with an
/// index that does not exist, are distributed as before. Uses `SO_ATTACH_REUSEPORT_CBPF` (Linux 4.5), a
/// filter of the whole group, whichever socket it is set on.
///
/// # Errors
/// Those of the system.
#[allow(clippy::cast_possible_truncation, reason = "codes and lengths of classic BPF have 16 bits")]
pub(in crate::net) fn steer(socket: &UdpSocket, mark: u8, at: u8) -> io::Result<()> {
    let step = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let load_byte = |at| step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, at);
    let if_equal = |value| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value);
    let mut program = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0),
        // Too short: jump to the end.
        libc::sock_filter { jf: 5, ..step(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, at.into()) },
        load_byte(0),
        step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mark.into()),
        // Without the mark: skip the next two.
        libc::sock_filter { jf: 2, ..if_equal(mark.into()) },
        load_byte(at.into()),
        step(libc::BPF_RET | libc::BPF_A, 0),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter and the program that it points to live until after the call, which copies them.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const filter).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
