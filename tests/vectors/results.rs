//! Results of requests.

use bytes::Bytes;
use rallypoint::base::{EventNumber, MemberId, RequestId, Revision, SessionKind, Slot, Wire};
use rallypoint::wire::result::{Entered, Info, Membership};
use rallypoint::wire::{CommandResult, ErrorCode, Value as ResultValue};

use super::describe::result_json;
use super::samples::{SESSION, invitation, settings};
use super::{Vectors, unhex};

// spec-test: RES-1, RES-2, ERR-1
#[test]
fn results() {
    let mut vectors = Vectors::new("results");
    for (name, outcome) in good_results() {
        let result = CommandResult { request: RequestId(300), outcome };
        let bytes = result.to_bytes();
        assert_eq!(CommandResult::from_bytes(bytes.clone()).as_ref(), Ok(&result), "{name}");
        vectors.good(name, &bytes, result_json(&result));
    }
    for (name, bytes) in BAD_RESULTS {
        let bytes = Bytes::from(unhex(bytes));
        vectors.bad(name, &bytes, CommandResult::from_bytes(bytes.clone()).expect_err(name));
    }
    vectors.settle();
}

fn good_results() -> Vec<(&'static str, Result<ResultValue, ErrorCode>)> {
    let entered = Entered { session: SESSION, slot: Slot(3), member: MemberId(70_000) };
    let info = Info {
        session: SESSION,
        settings: settings(),
        owner: MemberId(1),
        members: 4,
        open_invites: 2,
        revision: Revision(70_000),
        next: EventNumber(1 << 40),
    };
    let mut results = vec![
        ("empty", Ok(ResultValue::Empty)),
        ("entered", Ok(ResultValue::Entered(entered))),
        ("invited", Ok(ResultValue::Invited(vec![Ok(300), Err(ErrorCode::AlreadyMember), Ok(1)]))),
        ("revision", Ok(ResultValue::Revision(Revision(5)))),
        ("info", Ok(ResultValue::Info(info))),
        ("no sessions", Ok(ResultValue::Sessions(Vec::new()))),
        ("sessions", Ok(ResultValue::Sessions(vec![Membership { entered, kind: SessionKind(7) }]))),
        ("no invites", Ok(ResultValue::Invites(Vec::new()))),
        ("invites", Ok(ResultValue::Invites(vec![invitation(), invitation()]))),
    ];
    for &code in ErrorCode::ALL {
        results.push((code.name(), Err(code)));
    }
    results
}

const BAD_RESULTS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("another kind", "42 05 00"),
    ("value kind 7", "40 05 07"),
    ("a byte too many", "40 05 00 00"),
    ("entered cut", "40 05 01 0102030405060708 03"),
    ("invited without answers", "40 05 02 00"),
    ("invited with 65 answers", "40 05 02 4041"),
    ("invited: answer kind 2", "40 05 02 01 02 00"),
    ("sessions: count above 1,024", "40 05 05 4401"),
    ("error code 0", "41 05 00"),
    ("an unknown error code", "41 05 3f"),
    ("error code cut", "41 05"),
];
