//! The dialogue alone; the tests feed it the server's messages directly.

use std::sync::Arc;

use super::*;
use crate::client::core::dialogue::Dialogue;
use crate::client::core::pending::Asked;
use crate::wire::UserEvent;

const ORDERED: Delivery = Delivery::ReliableOrdered;

/// A dialogue fed by a test.
#[derive(Default)]
struct Told(Dialogue);

impl Told {
    /// A dialogue that is a member of the session.
    fn member() -> Self {
        let mut told = Self::default();
        let join = told.ask(StreamId::CONTROL, Asked::Join);
        told.event(snapshot_event()).unwrap();
        told.control(ok(join, Value::Entered(entered()))).unwrap();
        told.outputs();
        told
    }

    fn ask(&mut self, stream: StreamId, asked: Asked) -> RequestId {
        self.0.pending.push(stream, asked)
    }

    fn control(&mut self, message: Bytes) -> Result<(), ServerViolation> {
        self.0.on_message(Some(StreamId::CONTROL), ORDERED, message)
    }

    fn slot(&mut self, delivery: Delivery, message: Bytes) -> Result<(), ServerViolation> {
        self.0.on_message(Some(SLOT.into()), delivery, message)
    }

    fn event(&mut self, event: SessionEvent) -> Result<(), ServerViolation> {
        self.slot(ORDERED, event.encode())
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.0.poll_output()).collect()
    }

    fn texts(&mut self) -> Vec<Bytes> {
        let text = |output| match output {
            Output::Event(Event::Message { payload, .. }) => Some(payload),
            _ => None,
        };
        self.outputs().into_iter().filter_map(text).collect()
    }
}

fn snapshot_event() -> SessionEvent {
    SessionEvent::Snapshot(snapshot())
}

fn entered_event() -> Output {
    let mirror = Arc::new(Mirror::new(SLOT, &snapshot()).unwrap());
    Output::Event(Event::Entered {
        slot: SLOT,
        session: SESSION,
        member: OWN,
        next: EventNumber(NEXT),
        mirror,
    })
}

fn unknown(request: RequestId) -> Output {
    Output::Result { request, outcome: Err(RequestError::OutcomeUnknown) }
}

fn entered_result(request: RequestId) -> Output {
    Output::Result { request, outcome: Ok(Value::Entered(entered())) }
}

// spec-test: RES-3
#[test]
fn result_and_snapshot_may_come_in_any_order_and_the_result_is_told_with_both() {
    let mut told = Told::default();
    let join = told.ask(StreamId::CONTROL, Asked::Join);
    told.control(ok(join, Value::Entered(entered()))).unwrap();
    assert_eq!(told.outputs(), [], "without the snapshot there is no mirror");
    told.event(snapshot_event()).unwrap();
    assert_eq!(told.outputs(), [entered_event(), entered_result(join)]);

    let mut told = Told::default();
    let join = told.ask(StreamId::CONTROL, Asked::Join);
    told.event(snapshot_event()).unwrap();
    told.event(message(0, "early")).unwrap();
    assert_eq!(told.outputs().len(), 2, "events need no result");
    told.control(ok(join, Value::Entered(entered()))).unwrap();
    assert_eq!(told.outputs(), [entered_result(join)]);
}

#[test]
fn the_mirror_follows_the_events() {
    let mut told = Told::member();
    let joined = SessionEvent::MemberJoined { number: number(0), member: MemberId(3), user: user("eve") };
    let changes = vec![
        PropertyChange::Set { key: key("map"), value: PropertyValue::Integer(2) },
        PropertyChange::Created {
            key: key("mode"),
            value: PropertyValue::Integer(-1),
            rule: WriteRule::Creator,
        },
    ];
    let changed = SessionEvent::PropertiesChanged {
        number: number(1),
        revision: Revision(4),
        member: MemberId(3),
        changes: PropertyChanges::new(changes).unwrap(),
    };
    let owner = SessionEvent::OwnerChanged { number: number(2), owner: OWN };
    for event in [joined, changed, owner, left(3, OWNER)] {
        told.event(event).unwrap();
    }
    let mirror = told.0.mirror(SLOT).unwrap();
    let members: Vec<_> = mirror.members().map(|(id, user)| (id.0, user.as_str().to_owned())).collect();
    assert_eq!(members, [(2, "bob".to_owned()), (3, "eve".to_owned())]);
    assert_eq!(mirror.property("map"), Some(&PropertyValue::Integer(2)));
    assert_eq!(mirror.property("mode"), Some(&PropertyValue::Integer(-1)));
    assert_eq!(
        mirror.properties().find(|property| property.key == key("mode")).unwrap().creator,
        MemberId(3)
    );
    assert!(mirror.is_owner());
    assert_eq!((mirror.revision(), mirror.next()), (Revision(4), number(4)));
    assert_eq!(told.outputs().len(), 4);
}

// spec-test: EVT-1
#[test]
fn a_gap_and_a_repetition_are_the_servers_mistakes() {
    for step in [1, u64::MAX - NEXT, 0] {
        let mut told = Told::member();
        told.event(message(0, "first")).unwrap();
        let gap = told.event(if step == 1 { message(2, "third") } else { message(step, "other") });
        assert!(matches!(gap, Err(ServerViolation::EventGap { expected: EventNumber(6), .. })), "{gap:?}");
    }
}

#[test]
fn events_that_contradict_the_mirror_are_the_servers_mistakes() {
    let changed = |revision, change| SessionEvent::PropertiesChanged {
        number: number(0),
        revision: Revision(revision),
        member: OWNER,
        changes: PropertyChanges::new(vec![change]).unwrap(),
    };
    let set = |name| PropertyChange::Set { key: key(name), value: PropertyValue::Integer(0) };
    let create = |name| PropertyChange::Created {
        key: key(name),
        value: PropertyValue::Integer(0),
        rule: WriteRule::Any,
    };
    let wrong = [
        left(0, MemberId(9)),
        SessionEvent::MemberJoined { number: number(0), member: OWN, user: user("bob") },
        SessionEvent::OwnerChanged { number: number(0), owner: MemberId(9) },
        changed(5, set("map")),
        changed(4, set("nothing")),
        changed(4, create("map")),
        changed(4, PropertyChange::Deleted { key: key("nothing") }),
        SessionEvent::Refused { counter: 0, code: ErrorCode::Busy },
        snapshot_event(),
    ];
    for event in wrong {
        let told = Told::member().event(event.clone());
        assert!(told.is_err(), "{event:?}");
    }
    Told::member().event(changed(4, set("map"))).unwrap();
}

// spec-test: CMD-5, EVT-6
#[test]
fn what_is_open_when_the_own_membership_ends_is_answered_here() {
    let mut told = Told::member();
    let leave = told.ask(SLOT.into(), Asked::Plain);
    let kick = told.ask(SLOT.into(), Asked::Plain);
    let set = told.ask(SLOT.into(), Asked::SetProperties);
    let info = told.ask(StreamId::CONTROL, Asked::Info);
    told.slot(ORDERED, ok(leave, Value::Empty)).unwrap();
    told.event(left(0, OWN)).unwrap();
    let outputs = told.outputs();
    let refused =
        |request| Output::Result { request, outcome: Err(RequestError::Refused(ErrorCode::NotAMember)) };
    assert_eq!(outputs[0], Output::Result { request: leave, outcome: Ok(Value::Empty) });
    assert!(matches!(&outputs[1], Output::Event(Event::MemberLeft { member: OWN, is_own: true, .. })));
    assert_eq!(outputs[2..], [refused(kick), refused(set)]);
    assert_eq!(told.0.poll_finished(), Some(SLOT.into()));
    assert!(told.0.mirror(SLOT).is_none());
    assert_eq!(told.0.pending.end_all().collect::<Vec<_>>(), [info], "other streams go on");

    told.event(message(9, "late")).unwrap();
    told.slot(Delivery::ReliableUnordered, sent(Delivery::ReliableUnordered, "late").encode()).unwrap();
    assert_eq!(told.outputs(), [], "what comes late for an ended session is nothing");
}

#[test]
fn a_session_may_end_before_the_result_that_led_to_it() {
    let mut told = Told::default();
    let join = told.ask(StreamId::CONTROL, Asked::Join);
    told.event(snapshot_event()).unwrap();
    let gone = SessionEvent::SessionDeleted {
        number: number(0),
        why: DeleteReason::Deleted,
        reason: Reason::none(),
    };
    told.event(gone).unwrap();
    told.outputs();
    told.control(ok(join, Value::Entered(entered()))).unwrap();
    assert_eq!(told.outputs(), [entered_result(join)]);
    let again = told.ask(StreamId::CONTROL, Asked::Join);
    let reused = told.control(ok(again, Value::Entered(entered())));
    assert_eq!(reused, Err(ServerViolation::UnexpectedSlot { slot: SLOT }));
}

// spec-test: MSG-1, EVT-4
#[test]
fn reliable_messages_that_overtake_the_snapshot_are_kept_in_order() {
    let mut told = Told::default();
    told.ask(StreamId::CONTROL, Asked::Join);
    let unordered = Delivery::ReliableUnordered;
    for text in ["one", "two"] {
        told.slot(unordered, sent(unordered, text).encode()).unwrap();
    }
    let mut lost = vec![1];
    lost.extend_from_slice(&sent(Delivery::Unreliable, "lost").encode());
    told.0.on_message(None, Delivery::Unreliable, lost.clone().into()).unwrap();
    assert_eq!(told.outputs(), []);
    told.event(snapshot_event()).unwrap();
    assert_eq!(told.texts(), ["one", "two"]);
    told.0.on_message(None, Delivery::Unreliable, lost.into()).unwrap();
    assert_eq!(told.texts(), ["lost"], "now it has a session");
}

/// The member's join was lost and arrives later, or its leave has already arrived.
// spec-test: EVT-10
#[test]
fn a_message_of_a_member_that_is_not_in_the_list_is_none_the_less_one() {
    let mut told = Told::member();
    let unordered = Delivery::ReliableUnordered;
    let body = Body::new(unordered, "hello".into()).unwrap();
    let event = SessionEvent::Sent { sender: MemberId(77), delivery: unordered, body };
    told.slot(unordered, event.encode()).unwrap();
    assert_eq!(told.texts(), ["hello"]);
}

// spec-test: EVT-4
#[test]
fn what_overtakes_the_snapshot_is_bounded() {
    let unordered = Delivery::ReliableUnordered;
    let event = |bytes| {
        let body = Body::new(unordered, vec![0; bytes].into()).unwrap();
        SessionEvent::Sent { sender: OWNER, delivery: unordered, body }.encode()
    };
    // 64 messages that count 65,536 bytes each are 4 MiB.
    let body_bytes = 65_536 - 64 - (event(60_000).len() - 60_000);
    let refused = Err(ServerViolation::TooMuchBeforeSnapshot { slot: SLOT, limit_bytes: 4_194_304 });
    for (last, expected) in [(body_bytes, Ok(())), (body_bytes + 1, refused.clone())] {
        let mut told = Told::default();
        told.ask(StreamId::CONTROL, Asked::Join);
        for _ in 0..63 {
            told.slot(unordered, event(body_bytes)).unwrap();
        }
        assert_eq!(told.slot(unordered, event(last)), expected);
        assert_eq!(told.slot(unordered, event(0)), refused);
    }
}

#[test]
fn a_stream_that_nothing_asked_for_is_the_servers_mistake() {
    let unexpected = Err(ServerViolation::UnexpectedSlot { slot: SLOT });
    assert_eq!(Told::default().event(snapshot_event()), unexpected);
    let mut told = Told::member();
    told.ask(StreamId::CONTROL, Asked::Info);
    let other = told.0.on_message(Some(StreamId(2)), ORDERED, snapshot_event().encode());
    assert_eq!(other, Err(ServerViolation::UnexpectedSlot { slot: Slot(2) }));
}

#[test]
fn result_and_snapshot_must_agree() {
    let mut told = Told::default();
    let join = told.ask(StreamId::CONTROL, Asked::Join);
    told.control(ok(join, Value::Entered(Entered { member: MemberId(9), ..entered() }))).unwrap();
    let wrong = told.event(snapshot_event());
    assert_eq!(wrong, Err(ServerViolation::WrongSession { slot: SLOT, snapshot: SESSION }));
    told.0.on_disconnected(Disconnected::TimedOut);
    told.0.on_disconnected(Disconnected::ByClient);
    let end = Output::Event(Event::Disconnected(Disconnected::TimedOut));
    assert_eq!(told.outputs(), [unknown(join), end], "who waits for it is told, and the end once");
}

// spec-test: RES-2
#[test]
fn a_result_carries_what_its_command_yields() {
    let mut told = Told::member();
    let invite = told.ask(SLOT.into(), Asked::Invite(2));
    let wrong = told.slot(ORDERED, ok(invite, Value::Revision(Revision(1))));
    assert_eq!(wrong, Err(ServerViolation::WrongValue { request: invite }));
    assert_eq!(told.outputs(), [unknown(invite)]);
    let invite = told.ask(SLOT.into(), Asked::Invite(2));
    let short = told.slot(ORDERED, ok(invite, Value::Invited(vec![Ok(1)])));
    assert_eq!(short, Err(ServerViolation::WrongValue { request: invite }), "one of two users has no answer");
    assert_eq!(told.outputs(), [unknown(invite)]);
    let join = told.ask(StreamId::CONTROL, Asked::Join);
    told.control(ok(join, Value::Entered(entered()))).unwrap_err();
    assert_eq!(told.outputs(), [unknown(join)], "the slot is taken");
}

// spec-test: EVT-2, EVT-4, EVT-10, EVT-13
#[test]
fn ordered_things_come_ordered_and_on_their_stream() {
    let unordered = Delivery::ReliableUnordered;
    let misplaced = |told: Result<(), ServerViolation>| {
        assert!(matches!(told, Err(ServerViolation::Misplaced { .. })), "{told:?}");
    };
    misplaced(Told::member().slot(unordered, message(0, "x").encode()));
    misplaced(Told::member().slot(ORDERED, SessionEvent::Lagging.encode()));
    Told::member().slot(unordered, SessionEvent::Lagging.encode()).unwrap();
    let lagging = || UserEvent::Lagging.encode();
    misplaced(Told::member().0.on_message(Some(StreamId::CONTROL), ORDERED, lagging()));
    Told::member().0.on_message(Some(StreamId::CONTROL), unordered, lagging()).unwrap();
    misplaced(Told::member().event(sent(unordered, "another mode")));
    let mut told = Told::member();
    let leave = told.ask(SLOT.into(), Asked::Plain);
    misplaced(told.slot(unordered, ok(leave, Value::Empty)));
    let mut told = Told::default();
    told.ask(StreamId::CONTROL, Asked::Join);
    misplaced(told.event(message(0, "before the snapshot")));
    let mut numbered = vec![1];
    numbered.extend_from_slice(&message(0, "x").encode());
    misplaced(Told::member().0.on_message(None, Delivery::Unreliable, numbered.into()));
}

// spec-test: MSG-1
#[test]
fn what_an_unreliable_message_of_no_session_holds_does_not_matter() {
    let mut ended = Told::member();
    ended.event(left(0, OWN)).unwrap();
    let mut opening = Told::default();
    opening.ask(StreamId::CONTROL, Asked::Join);
    // No event, one of another mode, one without its number, and nothing.
    for rest in [&[0x7f][..], &[0x72, 1, 0x41], &[0x60], &[]] {
        let payload = Bytes::from([&[1], rest].concat());
        for told in [&mut ended, &mut opening] {
            told.0.on_message(None, Delivery::Unreliable, payload.clone()).unwrap();
        }
        assert!(Told::member().0.on_message(None, Delivery::Unreliable, payload).is_err());
    }
}

#[test]
fn bytes_that_are_nothing_are_told_with_their_stream() {
    for (stream, bytes) in [(None, &[][..]), (Some(StreamId(0)), &[0x60]), (Some(SLOT.into()), &[0x50, 1])] {
        let told = Told::member().0.on_message(stream, ORDERED, Bytes::copy_from_slice(bytes));
        assert!(matches!(told, Err(ServerViolation::Undecodable { .. })), "{told:?}");
    }
}

#[test]
fn a_dead_connection_leaves_every_outcome_unknown() {
    let mut told = Told::member();
    let kick = told.ask(SLOT.into(), Asked::Plain);
    let first = told.ask(StreamId::CONTROL, Asked::Join);
    let info = told.ask(StreamId::CONTROL, Asked::Info);
    let other = Entered { slot: Slot(2), ..entered() };
    told.control(ok(first, Value::Entered(other))).unwrap();
    told.0.on_disconnected(Disconnected::TimedOut);
    let unknown = |request| Output::Result { request, outcome: Err(RequestError::OutcomeUnknown) };
    assert_eq!(
        told.outputs(),
        [
            unknown(first),
            unknown(info),
            unknown(kick),
            Output::Event(Event::Disconnected(Disconnected::TimedOut))
        ]
    );
    assert!(told.0.mirror(SLOT).is_none());
}
