//! Rules of properties, one by one.

use super::*;
use crate::wire::command::InitialProperty;
use bytes::Bytes;

const OWNER: MemberId = MemberId(1);
const BOB: MemberId = MemberId(2);
const CAT: MemberId = MemberId(3);

/// Properties, and the members of their session.
struct Fixture {
    properties: Properties,
    members: Vec<MemberId>,
    limits: SessionLimits,
}

impl Fixture {
    fn new() -> Self {
        Self::with(SessionLimits::default())
    }

    fn with(limits: SessionLimits) -> Self {
        let properties = Properties::new(InitialProperties::default(), OWNER, &limits).unwrap();
        Self { properties, members: vec![OWNER, BOB, CAT], limits }
    }

    fn run(&mut self, member: MemberId, ops: Vec<PropertyOp>) -> Result<Vec<PropertyChange>, ErrorCode> {
        let members = self.members.clone();
        let is_member = move |id| members.contains(&id);
        let writer = Writer { member, is_owner: member == OWNER, is_member: &is_member };
        let ops = PropertyOps::new(ops).unwrap();
        let staged = self.properties.stage(&ops, &writer, &self.limits)?;
        let before = self.properties.revision();
        let (revision, changes) = self.properties.commit(staged);
        assert_eq!(revision.0, before.0 + 1);
        Ok(changes.as_slice().to_vec())
    }

    fn value(&self, name: &str) -> Option<PropertyValue> {
        self.properties.map().get(&key(name)).map(|entry| entry.value.clone())
    }
}

fn key(name: &str) -> PropertyKey {
    PropertyKey::new(name).unwrap()
}

fn int(value: i64) -> PropertyValue {
    PropertyValue::Integer(value)
}

fn set(name: &str, value: i64, rule: WriteRule) -> PropertyOp {
    PropertyOp::Set { key: key(name), value: int(value), rule: Some(rule) }
}

fn delete(name: &str) -> PropertyOp {
    PropertyOp::Delete { key: key(name) }
}

fn add(name: &str, delta: i64) -> PropertyOp {
    PropertyOp::Increment { key: key(name), delta }
}

fn swap(name: &str, expected: Option<i64>, value: Option<i64>) -> PropertyOp {
    let (expected, value) = (expected.map(int), value.map(int));
    PropertyOp::CompareAndSet { key: key(name), expected, value, rule: Some(WriteRule::Any) }
}

// spec-test: PRP-5
#[test]
fn the_rule_of_a_new_key_governs_it_from_then_on() {
    for (rule, bob_may, cat_may) in
        [(WriteRule::Any, true, true), (WriteRule::Creator, true, false), (WriteRule::Owner, false, false)]
    {
        let mut fixture = Fixture::new();
        let creator = if rule == WriteRule::Owner { OWNER } else { BOB };
        fixture.run(creator, vec![set("k", 1, rule)]).unwrap();
        let allowed = |result: Result<_, _>| result != Err(ErrorCode::PropertyDenied);
        assert_eq!(allowed(fixture.run(BOB, vec![set("k", 2, WriteRule::Any)])), bob_may, "{rule:?}");
        assert_eq!(allowed(fixture.run(CAT, vec![add("k", 1)])), cat_may, "{rule:?}");
        assert_eq!(allowed(fixture.run(CAT, vec![swap("k", Some(0), None)])), cat_may, "{rule:?}");
        assert_eq!(allowed(fixture.run(CAT, vec![delete("k")])), cat_may, "{rule:?}");
    }
}

// spec-test: PRP-5
#[test]
fn what_a_member_created_for_itself_is_the_owners_after_it_left() {
    let mut fixture = Fixture::new();
    fixture.run(BOB, vec![set("k", 1, WriteRule::Creator)]).unwrap();
    assert_eq!(fixture.run(OWNER, vec![delete("k")]), Err(ErrorCode::PropertyDenied));
    fixture.members.retain(|member| *member != BOB);
    assert_eq!(fixture.run(CAT, vec![delete("k")]), Err(ErrorCode::PropertyDenied));
    assert!(fixture.run(OWNER, vec![delete("k")]).is_ok());
}

// spec-test: PRP-5
#[test]
fn only_the_owner_creates_what_only_the_owner_writes() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(BOB, vec![set("k", 1, WriteRule::Owner)]), Err(ErrorCode::PropertyDenied));
    assert!(fixture.run(OWNER, vec![set("k", 1, WriteRule::Owner)]).is_ok());
}

#[test]
fn without_a_rule_a_new_key_is_its_creators() {
    let mut fixture = Fixture::new();
    let op = PropertyOp::Set { key: key("k"), value: int(1), rule: None };
    let changes = fixture.run(BOB, vec![op]).unwrap();
    assert_eq!(changes, [PropertyChange::Created { key: key("k"), value: int(1), rule: WriteRule::Creator }]);
}

// spec-test: PRP-1, PRP-8
#[test]
fn operations_are_carried_out_in_order_all_or_none() {
    let mut fixture = Fixture::new();
    let changes =
        fixture.run(BOB, vec![set("k", 1, WriteRule::Any), add("k", 4), set("l", 0, WriteRule::Any)]);
    assert_eq!(changes.unwrap().len(), 3);
    assert_eq!(fixture.value("k"), Some(int(5)));
    let refused = fixture.run(BOB, vec![add("k", 1), delete("l"), delete("l")]);
    assert_eq!(refused, Err(ErrorCode::NoSuchProperty), "the second delete");
    assert_eq!((fixture.value("k"), fixture.value("l")), (Some(int(5)), Some(int(0))));
    assert_eq!(fixture.properties.revision(), Revision(1));
}

// spec-test: PRP-7
#[test]
fn an_increment_needs_an_integer_and_does_not_overflow() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run(BOB, vec![add("k", 1)]), Err(ErrorCode::NoSuchProperty));
    fixture.run(BOB, vec![set("k", i64::MAX - 1, WriteRule::Any)]).unwrap();
    let changes = fixture.run(BOB, vec![add("k", 1)]).unwrap();
    assert_eq!(changes, [PropertyChange::Set { key: key("k"), value: int(i64::MAX) }]);
    assert_eq!(fixture.run(BOB, vec![add("k", 1)]), Err(ErrorCode::PropertyOverflow));
    assert!(fixture.run(BOB, vec![add("k", i64::MIN)]).is_ok());
    assert_eq!(fixture.value("k"), Some(int(-1)));
    let bytes = PropertyValue::Bytes(Bytes::from_static(b"x"));
    fixture.run(BOB, vec![PropertyOp::Set { key: key("k"), value: bytes, rule: None }]).unwrap();
    assert_eq!(fixture.run(BOB, vec![add("k", 1)]), Err(ErrorCode::PropertyNotInteger));
}

// spec-test: PRP-7
#[test]
fn of_two_compare_and_sets_on_one_value_one_wins() {
    let mut fixture = Fixture::new();
    assert!(fixture.run(BOB, vec![swap("k", None, Some(1))]).is_ok());
    assert_eq!(fixture.run(CAT, vec![swap("k", None, Some(2))]), Err(ErrorCode::PropertyMismatch));
    assert!(fixture.run(CAT, vec![swap("k", Some(1), Some(2))]).is_ok());
    assert_eq!(fixture.run(BOB, vec![swap("k", Some(1), Some(3))]), Err(ErrorCode::PropertyMismatch));
    let nothing = fixture.run(BOB, vec![swap("other", None, None)]);
    assert_eq!(nothing, Err(ErrorCode::NoSuchProperty), "a change that is none cannot be told");
    let changes = fixture.run(BOB, vec![swap("k", Some(2), None)]).unwrap();
    assert_eq!(changes, [PropertyChange::Deleted { key: key("k") }]);
    assert_eq!(fixture.value("k"), None);
}

// spec-test: PRP-2
#[test]
fn keys_and_bytes_are_limited_after_all_operations_together() {
    let limits = SessionLimits { max_properties: 2, max_property_bytes: 30, ..SessionLimits::default() };
    let mut fixture = Fixture::with(limits);
    let any = WriteRule::Any;
    fixture.run(BOB, vec![set("a", 1, any), set("b", 1, any)]).unwrap();
    assert_eq!(fixture.run(BOB, vec![set("c", 1, any)]), Err(ErrorCode::TooManyProperties));
    assert!(fixture.run(BOB, vec![set("c", 1, any), delete("a")]).is_ok(), "two are left");
    let bytes = |length: usize| PropertyOp::Set {
        key: key("c"),
        value: PropertyValue::Bytes(Bytes::from(vec![0; length])),
        rule: None,
    };
    assert!(fixture.run(BOB, vec![bytes(30 - 1 - 8 - 1)]).is_ok(), "30 bytes: b, its integer, c, its bytes");
    assert_eq!(fixture.run(BOB, vec![bytes(30 - 1 - 8)]), Err(ErrorCode::PropertiesTooLarge));
    assert!(fixture.run(BOB, vec![delete("b"), bytes(29)]).is_ok());
}

#[test]
fn a_session_begins_with_what_it_was_created_with_at_revision_0() {
    let initial = |count: usize| {
        let property =
            |n| InitialProperty { key: key(&format!("k{n}")), value: int(0), rule: WriteRule::Any };
        InitialProperties::new((0..count).map(property).collect()).unwrap()
    };
    let limits = SessionLimits { max_properties: 2, max_property_bytes: 20, ..SessionLimits::default() };
    let properties = Properties::new(initial(2), OWNER, &limits).unwrap();
    assert_eq!((properties.map().len(), properties.revision()), (2, Revision(0)));
    let refused = |initial| Properties::new(initial, OWNER, &limits).map(|_| ());
    assert_eq!(refused(initial(3)), Err(ErrorCode::TooManyProperties));
    let limits = SessionLimits { max_property_bytes: 19, ..limits };
    assert_eq!(Properties::new(initial(2), OWNER, &limits).map(|_| ()), Err(ErrorCode::PropertiesTooLarge));
}
