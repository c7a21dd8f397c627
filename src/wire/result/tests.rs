//! Known bytes of every result, round trips and canonical form.

use super::*;
use crate::base::{InviteId, OutOfBounds, UserId};
use crate::wire::settings::tests::any_settings;
use crate::wire::tests::check_canonical;
use crate::wire::{Admission, IdleTtl, MaxMembers, Note, OnOwnerLeave};
use bytes::Bytes;
use proptest::prelude::*;

const SESSION: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn entered() -> Entered {
    Entered { session: SessionId(0x0102_0304_0506_0708), slot: Slot(3), member: MemberId(2) }
}

fn check(outcome: Result<Value, ErrorCode>, parts: &[&[u8]]) {
    let result = CommandResult { request: RequestId(5), outcome };
    let bytes = Bytes::from(parts.concat());
    assert_eq!(result.to_bytes(), bytes);
    assert_eq!(CommandResult::from_bytes(bytes), Ok(result));
}

// spec-test: RES-1 RES-2
#[test]
fn known_bytes() {
    check(Err(ErrorCode::PropertyOverflow), &[&[0x41, 5, 0x40, 67]]);
    check(Ok(Value::Empty), &[&[0x40, 5, 0]]);
    check(Ok(Value::Entered(entered())), &[&[0x40, 5, 1], &SESSION, &[3, 2]]);
    let answers = vec![Ok(9), Err(ErrorCode::AlreadyMember)];
    check(Ok(Value::Invited(answers)), &[&[0x40, 5, 2, 2, 0, 9, 1, 19]]);
    check(Ok(Value::Revision(Revision(4))), &[&[0x40, 5, 3, 4]]);
}

// spec-test: RES-5
#[test]
fn known_bytes_of_answers_to_questions() {
    let info = Info {
        session: entered().session,
        settings: Settings {
            kind: SessionKind(7),
            max_members: MaxMembers::new(8).unwrap(),
            idle_ttl: IdleTtl::new(60).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        },
        owner: MemberId(1),
        members: 2,
        open_invites: 3,
        revision: Revision(4),
        next: EventNumber(5),
    };
    check(Ok(Value::Info(info)), &[&[0x40, 5, 4], &SESSION, &[0, 7, 8, 60, 0, 1, 1, 2, 3, 4, 5]]);
    let membership = Membership { entered: entered(), kind: SessionKind(7) };
    check(Ok(Value::Sessions(vec![membership])), &[&[0x40, 5, 5, 1], &SESSION, &[3, 2, 0, 7]]);
    let invitation = Invitation {
        invite: InviteId { session: entered().session, number: 9 },
        kind: SessionKind(7),
        owner: UserId::new("ann").unwrap(),
        ttl_left_ms: 1,
        note: Note::none(),
    };
    check(
        Ok(Value::Invites(vec![invitation])),
        &[&[0x40, 5, 6, 1], &SESSION, &[9, 0, 7], b"\x03ann", &[1, 0]],
    );
}

#[test]
fn a_list_longer_than_allowed_is_refused() {
    let mut writer = Writer::new();
    writer.slice(&[0x40, 5, 5]);
    writer.varint(1_025);
    assert!(matches!(
        CommandResult::from_bytes(writer.finish()),
        Err(DecodeError::OutOfBounds(OutOfBounds::Range { what: "sessions", max: 1_024, .. }))
    ));
}

fn any_value() -> impl Strategy<Value = Value> {
    let entered = || {
        (any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(session, slot, member)| Entered {
            session: SessionId(session),
            slot: Slot(slot),
            member: MemberId(member),
        })
    };
    let answer = prop_oneof![any::<u32>().prop_map(Ok), prop::sample::select(ErrorCode::ALL).prop_map(Err),];
    let membership =
        (entered(), any::<u16>()).prop_map(|(entered, kind)| Membership { entered, kind: SessionKind(kind) });
    prop_oneof![
        Just(Value::Empty),
        entered().prop_map(Value::Entered),
        prop::collection::vec(answer, 1..6).prop_map(Value::Invited),
        (0..1u64 << 62).prop_map(|revision| Value::Revision(Revision(revision))),
        (any::<u64>(), any_settings(), any::<u32>(), any::<u32>()).prop_map(|(session, settings, a, b)| {
            Value::Info(Info {
                session: SessionId(session),
                settings,
                owner: MemberId(a),
                members: b,
                open_invites: a,
                revision: Revision(u64::from(b)),
                next: EventNumber(1 + u64::from(a)),
            })
        }),
        prop::collection::vec(membership, 0..4).prop_map(Value::Sessions),
    ]
}

proptest! {
    #[test]
    fn a_result_is_read_as_it_was_written(
        request: u32,
        outcome in prop_oneof![
            3 => any_value().prop_map(Ok),
            1 => prop::sample::select(ErrorCode::ALL).prop_map(Err),
        ],
    ) {
        let result = CommandResult { request: RequestId(request), outcome };
        prop_assert_eq!(CommandResult::from_bytes(result.to_bytes()), Ok(result));
    }

    // spec-test: WIR-3
    #[test]
    fn what_is_accepted_is_canonical(
        kind in 0x40..0x42u8,
        rest in prop::collection::vec(prop_oneof![4 => 0..7u8, 1 => any::<u8>()], 0..40),
    ) {
        check_canonical::<CommandResult>([&[kind][..], &rest].concat())?;
    }
}
