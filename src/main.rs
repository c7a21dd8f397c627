//! The `rallypoint` binary.

fn main() {}
