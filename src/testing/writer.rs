//! A user's next change of properties: anything that the rules of properties allow or refuse.

use rand::Rng;
use rand::rngs::StdRng;

use crate::client::core::Mirror;
use crate::wire::command::{InitialProperties, InitialProperty};
use crate::wire::{PropertyKey, PropertyOp, PropertyOps, PropertyValue, Request, WriteRule};

/// Properties that only ever increase by one: "count" by increments, "turn" by compare-and-set.
pub(super) const COUNTERS: [&str; 2] = ["count", "turn"];
/// Number of further properties, which users create, change and delete all the time.
const SMALL: u32 = 5;
/// The name of a large property, and the beginning of the names of very many. Everyone may delete them.
const BULK: &str = "bulk";
/// Maximum number of a session's properties, and of the operations of a command.
const MOST: usize = 256;
/// Maximum size of a session's properties in bytes.
const MOST_BYTES: usize = 65_536;

/// Returns the properties of a new session.
pub(super) fn initial(rng: &mut StdRng) -> InitialProperties {
    let counter = |key: &str| InitialProperty {
        key: key_of(key),
        value: PropertyValue::Integer(0),
        rule: WriteRule::Any,
    };
    let mut properties: Vec<InitialProperty> = COUNTERS.map(counter).into();
    for number in 0..SMALL {
        if rng.random_bool(0.3) {
            let rule = rule(rng).unwrap_or(WriteRule::Any);
            properties.push(InitialProperty { key: small_key(number), value: value(rng), rule });
        }
    }
    properties.sort_by(|one, other| one.key.as_str().cmp(other.key.as_str()));
    InitialProperties::new(properties).expect("invariant: a few keys, none twice")
}

/// Returns a command for a session. `takes_bulk`: also very large and very many properties.
pub(super) fn next(rng: &mut StdRng, session: &Mirror, takes_bulk: bool) -> Request {
    let bulk = bulk_keys(session);
    let ops = match rng.random_range(0..100) {
        // Until they are gone, every member that enters is sent all of them.
        0..60 if !bulk.is_empty() => bulk.into_iter().map(PropertyOp::delete).collect(),
        0..30 => vec![count()],
        30..50 => turn(session).into_iter().collect(),
        50..52 if takes_bulk => vec![large(rng, session)],
        52..54 if takes_bulk => many(rng, session),
        _ => several(rng, session),
    };
    let ops = if ops.is_empty() { vec![count()] } else { ops };
    Request::SetProperties(PropertyOps::new(ops).expect("invariant: 1 to 256 operations"))
}

fn count() -> PropertyOp {
    PropertyOp::increment(key_of("count"), 1)
}

fn turn(session: &Mirror) -> Option<PropertyOp> {
    let Some(PropertyValue::Integer(turn)) = session.property("turn") else { return None };
    let [expected, value] = [*turn, turn + 1].map(|turn| Some(PropertyValue::Integer(turn)));
    Some(PropertyOp::compare_and_set(key_of("turn"), expected, value))
}

/// Returns a few operations, often several on one property. When one of them is refused, none may count.
fn several(rng: &mut StdRng, session: &Mirror) -> Vec<PropertyOp> {
    let most = if rng.random_bool(0.1) { 12 } else { 3 };
    let mut ops: Vec<PropertyOp> = (0..rng.random_range(1..=most)).map(|_| small(rng, session)).collect();
    if rng.random_bool(0.3) {
        ops.insert(0, count());
    }
    ops
}

fn small(rng: &mut StdRng, session: &Mirror) -> PropertyOp {
    let key = small_key(rng.random_range(0..SMALL));
    let known = session.property(key.as_str()).cloned();
    match rng.random_range(0..8) {
        0..3 => PropertyOp::Set { key, value: value(rng), rule: rule(rng) },
        3 => PropertyOp::Delete { key },
        4 | 5 => PropertyOp::Increment { key, delta: integer(rng) },
        _ => {
            let expected = if rng.random_bool(0.7) { known } else { some_value(rng) };
            PropertyOp::CompareAndSet { key, expected, value: some_value(rng), rule: rule(rng) }
        }
    }
}

/// Returns an operation after which the properties are about as large as they may be.
fn large(rng: &mut StdRng, session: &Mirror) -> PropertyOp {
    let of_others = session.properties().filter(|property| property.key.as_str() != BULK);
    let used: usize =
        of_others.map(|property| property.key.as_str().len() + property.value.counted_bytes()).sum();
    let room = MOST_BYTES.saturating_sub(used + BULK.len());
    let bytes = (room + rng.random_range(0..3)).saturating_sub(1).min(MOST_BYTES);
    let value = vec![rng.random(); bytes];
    let value = PropertyValue::bytes(value.into()).expect("invariant: at most 64 KiB");
    PropertyOp::Set { key: key_of(BULK), value, rule: Some(WriteRule::Any) }
}

/// Returns operations after which there are about as many properties as there may be.
fn many(rng: &mut StdRng, session: &Mirror) -> Vec<PropertyOp> {
    let others = session.properties().len() - bulk_keys(session).len();
    let count = (MOST - others.min(MOST) + rng.random_range(0..3)).saturating_sub(1).clamp(1, MOST);
    let one = |number| PropertyOp::Set {
        key: key_of(&format!("{BULK}-{number}")),
        value: PropertyValue::Integer(1),
        rule: Some(WriteRule::Any),
    };
    (0..count).map(one).collect()
}

fn bulk_keys(session: &Mirror) -> Vec<PropertyKey> {
    let keys = session.properties().map(|property| property.key.clone());
    keys.filter(|key| key.as_str().starts_with(BULK)).collect()
}

fn some_value(rng: &mut StdRng) -> Option<PropertyValue> {
    rng.random_bool(0.7).then(|| value(rng))
}

fn value(rng: &mut StdRng) -> PropertyValue {
    if rng.random() {
        return PropertyValue::Integer(integer(rng));
    }
    let bytes = vec![rng.random(); rng.random_range(0..40)];
    PropertyValue::bytes(bytes.into()).expect("invariant: a short value is legal")
}

/// Returns an integer that may be added to others, sometimes with an overflow.
fn integer(rng: &mut StdRng) -> i64 {
    match rng.random_range(0..10) {
        0 => i64::MAX,
        1 => i64::MIN,
        _ => rng.random_range(-3..=3),
    }
}

/// Usually a rule that lets others change the property.
fn rule(rng: &mut StdRng) -> Option<WriteRule> {
    match rng.random_range(0..8) {
        0 => None,
        1 => Some(WriteRule::Creator),
        2 => Some(WriteRule::Owner),
        _ => Some(WriteRule::Any),
    }
}

fn small_key(number: u32) -> PropertyKey {
    key_of(&format!("key-{number}"))
}

fn key_of(key: &str) -> PropertyKey {
    PropertyKey::new(key).expect("invariant: a short key is legal")
}
