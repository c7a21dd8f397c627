//! Linux system calls that neither `std` nor `socket2` provides. All `unsafe` code of the crate, except the
//! hint of [`prefetch`](crate::base::prefetch()).
#![allow(unsafe_code)]

mod batch;
mod control;
mod files;
mod poll;
mod steer;
mod timer;
mod watch;

pub(super) use batch::{
    can_split, has_batches, join_received, link_mtu, mark_sent, never_fragment, receive_batch, send_batch,
    unsent_share,
};
pub(super) use control::{read_local_addresses, read_marks};
pub(super) use files::raise_open_files;
pub(super) use poll::{EventFd, Readiness, wait, wake_on_time};
pub(super) use steer::steer;
pub(super) use timer::TimerFd;
pub(super) use watch::watch;

/// Converts a duration for system calls; one beyond their range becomes the longest that they take.
fn timespec(time: std::time::Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(i32::MAX.into()),
        tv_nsec: libc::c_long::from(time.subsec_nanos().cast_signed()),
    }
}
