//! Linux system calls that neither `std` nor `socket2` has. The only `unsafe` code of the crate.
#![allow(unsafe_code)]

mod batch;
mod timer;

pub(super) use batch::{never_fragment, receive_batch, send_batch};
pub(super) use timer::TimerFd;
