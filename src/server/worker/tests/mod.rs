//! A whole server in virtual time, observed from its clients. Most tests run with one worker, with several
//! whose members gather on one, and with several among which they stay distributed.

mod connections;
mod house;
mod limits;
mod lists;
mod memberships;
mod placement;
mod races;
mod wiring;

use self::house::{House, Who};
use super::super::limits::Limits;

/// Runs a test with one worker, and with three whose clients are spread over them, once to gather and once to
/// stay.
fn with_any_workers(test: impl Fn(&mut House)) {
    for (workers, gathered_seats) in [(1, 64), (3, 64), (3, 0)] {
        test(&mut House::new(workers, Limits { gathered_seats, ..Limits::default() }));
    }
}
