//! Linux system calls that neither `std` nor `socket2` has. All `unsafe` code of the crate, but for the hint of
//! [`prefetch`](crate::base::prefetch()).
#![allow(unsafe_code)]

mod batch;
mod control;
mod files;
mod steer;
mod timer;
mod watch;

pub(super) use batch::{
    can_split, has_batches, join_received, link_mtu, mark_sent, never_fragment, receive_batch, send_batch,
    unsent_share,
};
pub(super) use control::{read_local_addresses, read_marks};
pub(super) use files::raise_open_files;
pub(super) use steer::steer;
pub(super) use timer::TimerFd;
pub(super) use watch::watch;
