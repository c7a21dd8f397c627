//! Checks which connections may have replaced which.

use super::*;

#[test]
fn a_connection_is_replaced_only_by_one_that_the_server_may_have_known_later() {
    // The first life connects at 100; the other connects and is heard of when given.
    let is_replaced = |name: &str, connected: Option<u64>, heard: Option<u64>| {
        let mut lives = Lives::default();
        lives.born(Life(1), user("ann"));
        lives.connected(Life(1), at(100));
        lives.born(Life(2), user(name));
        connected.into_iter().for_each(|millis| lives.connected(Life(2), at(millis)));
        heard.into_iter().for_each(|millis| lives.heard(Life(2), at(millis)));
        lives.may_be_replaced(Life(1))
    };
    assert!(is_replaced("ann", Some(200), Some(210)));
    assert!(is_replaced("ann", Some(200), None), "its first packet may have come just before it crashed");
    assert!(is_replaced("ann", Some(50), Some(110)), "its first packet may have been late");
    assert!(!is_replaced("ann", Some(50), Some(90)), "it was there first");
    assert!(!is_replaced("ann", None, None), "it never connected");
    assert!(!is_replaced("bob", Some(200), Some(210)));
}

#[test]
fn only_what_a_client_receives_shows_that_the_server_knows_it() {
    let mut lives = Lives::default();
    lives.born(Life(1), user("ann"));
    lives.connected(Life(1), at(100));
    assert!(!lives.was_known(Life(1), at(900)));
    lives.heard(Life(1), at(200));
    lives.heard(Life(1), at(300));
    assert!(lives.was_known(Life(1), at(201)) && !lives.was_known(Life(1), at(200)));
}
