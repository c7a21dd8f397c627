//! A whole server in virtual time, seen from its clients. Most tests run with one worker and with
//! several.

mod connections;
mod house;
mod limits;
mod memberships;

use self::house::{House, Who};
use super::super::limits::Limits;

/// Runs a test with one worker, and with three, its clients spread over them.
fn with_any_workers(test: impl Fn(&mut House)) {
    for workers in [1, 3] {
        test(&mut House::new(workers, Limits::default()));
    }
}
