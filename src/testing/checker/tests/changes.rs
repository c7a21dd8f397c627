//! Checks that changes of properties that are against the rules are detected.

use super::super::properties::Properties;
use super::*;
use crate::wire::{Property, PropertyChange, PropertyChanges, PropertyOp, PropertyOps, WriteRule};

const ANNS: Seat = Seat { session: SESSION, member: MemberId(1) };

fn key(name: &str) -> PropertyKey {
    PropertyKey::new(name).unwrap()
}

fn property(name: &str, value: impl Into<PropertyValue>, rule: WriteRule, creator: u32) -> Property {
    Property { key: key(name), value: value.into(), rule, creator: MemberId(creator) }
}

/// A session of ann (1), its owner, and ben (2), as ann knows it. Member 9 has left.
fn session(properties: Vec<Property>) -> Mirror {
    let there = mirror(1, 3, &[(1, "ann"), (2, "ben")]);
    let members = there.members().map(|(member, user)| SnapshotMember { member, user: user.clone() });
    let snapshot = Snapshot {
        session: SESSION,
        settings: *there.settings(),
        you: MemberId(1),
        owner: MemberId(1),
        next: EventNumber(3),
        members: members.collect(),
        revision: Revision(0),
        properties,
    };
    Mirror::new(Slot(1), &snapshot).unwrap()
}

fn some_properties() -> Vec<Property> {
    vec![
        property("bens", 1_i64, WriteRule::Creator, 2),
        property("left", 1_i64, WriteRule::Creator, 9),
        property("number", i64::MAX, WriteRule::Any, 1),
        property("owners", 1_i64, WriteRule::Owner, 2),
        property("text", "t", WriteRule::Any, 1),
    ]
}

fn expecting(name: &str, expected: Option<i64>, value: Option<i64>) -> PropertyOp {
    PropertyOp::compare_and_set(key(name), expected.map(Into::into), value.map(Into::into))
}

#[test]
fn an_operation_is_refused_for_the_first_reason() {
    use ErrorCode::*;
    let (ann, ben) = (1, 2);
    let set = |name| PropertyOp::set(key(name), 2_i64);
    let (delete, add) =
        (|name| PropertyOp::delete(key(name)), |name, by| PropertyOp::increment(key(name), by));
    let session = session(some_properties());
    for (member, op, refusal) in [
        (ann, set("bens"), Some(PropertyDenied)),
        (ben, set("bens"), None),
        (ann, delete("left"), None),
        (ben, delete("left"), Some(PropertyDenied)),
        (ann, set("owners"), None),
        (ben, set("owners"), Some(PropertyDenied)),
        (ben, set("new").with_rule(WriteRule::Owner), Some(PropertyDenied)),
        (ben, set("text").with_rule(WriteRule::Owner), None),
        (ben, delete("new"), Some(NoSuchProperty)),
        (ben, add("new", 1), Some(NoSuchProperty)),
        (ben, add("text", 1), Some(PropertyNotInteger)),
        (ben, add("number", 1), Some(PropertyOverflow)),
        (ben, add("number", -1), None),
        (ben, expecting("new", Some(1), None), Some(PropertyMismatch)),
        (ben, expecting("new", None, None), Some(NoSuchProperty)),
        (ben, expecting("new", None, Some(1)), None),
        (ben, expecting("bens", Some(2), None), Some(PropertyMismatch)),
        (ben, expecting("bens", Some(1), None), None),
        (ann, expecting("bens", Some(2), None), Some(PropertyDenied)),
    ] {
        let made = Properties::of(&session).carry_out(MemberId(member), std::slice::from_ref(&op));
        assert_eq!(made.err(), refusal, "{member} {op:?}");
    }
}

#[test]
fn operations_count_together() {
    let session = session(some_properties());
    let made = |ops: &[PropertyOp]| Properties::of(&session).carry_out(MemberId(1), ops);
    let (text, new) = (key("text"), key("new"));
    let ops =
        [PropertyOp::delete(text.clone()), expecting("text", None, Some(1)), expecting("new", None, Some(1))];
    let integer = PropertyValue::Integer(1);
    let created = |key, value| PropertyChange::Created { key, value, rule: WriteRule::Creator };
    let changes = vec![
        PropertyChange::Deleted { key: text.clone() },
        created(text, integer.clone()),
        created(new, integer),
    ];
    assert_eq!(made(&ops), Ok(changes));
    let sets = |count: usize| -> Vec<_> {
        (0..count).map(|number| PropertyOp::set(key(&format!("{number}")), 1_i64)).collect()
    };
    assert!(made(&sets(251)).is_ok());
    assert_eq!(made(&sets(252)), Err(ErrorCode::TooManyProperties));
    // The others have 21 bytes of keys, 32 of integers and 1 of text.
    let others = 4 + 4 + 6 + 6 + 4 + 4 * 8 + 1;
    let large = |bytes| [PropertyOp::set(key("l"), vec![7_u8; bytes])];
    assert!(made(&large(65_536 - 1 - others)).is_ok());
    assert_eq!(made(&large(65_536 - others)), Err(ErrorCode::PropertiesTooLarge));
}

fn changed(revision: u64, member: u32, change: PropertyChange) -> Event {
    Event::PropertiesChanged {
        slot: Slot(1),
        number: EventNumber(3),
        revision: Revision(revision),
        member: MemberId(member),
        changes: PropertyChanges::new(vec![change]).unwrap(),
    }
}

/// Returns the issues when ann asks to set "new" to 1 and is told `event`, after which she knows `after`, and
/// then `outcome`.
fn issues_of(event: &Event, after: Option<&Mirror>, outcome: &Result<Value, RequestError>) -> Vec<String> {
    let (mut changes, mut issues) = (Changes::default(), Issues::default());
    let before = session(some_properties());
    let mut follows = before.clone();
    follows.apply(event).unwrap();
    let ops = PropertyOps::new(vec![PropertyOp::set(key("new"), 1_i64)]).unwrap();
    let request = Request::SetProperties(ops);
    changes.asked(RequestId(1), Some(MINE), &request);
    let seats = [(ANNS, ANN), (Seat { member: MemberId(2), ..ANNS }, BOB)].into();
    changes.event(Arc::new(before), after.or(Some(&follows)), event, &seats, &mut issues);
    let asked = Asked { seat: Some(MINE), ..asked(1, request) };
    changes.answered(RequestId(1), &asked, outcome, &mut issues);
    assert_eq!(changes.count(), 1);
    issues.lines
}

#[test]
fn a_change_that_nobody_asked_for_is_noticed() {
    let created = |value: i64, rule| PropertyChange::Created { key: key("new"), value: value.into(), rule };
    let as_asked = || changed(1, 1, created(1, WriteRule::Creator));
    let done = Ok(Value::Revision(Revision(1)));
    let unknown = Err(RequestError::OutcomeUnknown);
    assert_eq!(issues_of(&as_asked(), None, &done), [""; 0]);
    assert_eq!(issues_of(&as_asked(), None, &unknown), [""; 0]);
    for (value, rule) in [(2, WriteRule::Creator), (1, WriteRule::Any)] {
        assert_noticed(&issues_of(&changed(1, 1, created(value, rule)), None, &unknown), "is no result of");
    }
    assert_noticed(
        &issues_of(&changed(1, 2, created(1, WriteRule::Creator)), None, &unknown),
        "is no result of",
    );
    assert_noticed(&issues_of(&as_asked(), None, &Ok(Value::Revision(Revision(2)))), "was not told what");
    let issues = issues_of(&changed(1, 1, created(2, WriteRule::Creator)), None, &done);
    assert_noticed(&issues[1..], "was told that");
}

#[test]
fn properties_that_do_not_follow_from_a_change_are_noticed() {
    let created = PropertyChange::Created {
        key: key("new"),
        value: PropertyValue::Integer(1),
        rule: WriteRule::Creator,
    };
    let unknown = Err(RequestError::OutcomeUnknown);
    let unchanged = session(some_properties());
    assert_noticed(&issues_of(&changed(1, 1, created), Some(&unchanged), &unknown), "does not become");
}
