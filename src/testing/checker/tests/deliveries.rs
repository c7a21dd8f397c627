//! Checks that a message that is lost, doubled, late or not meant is detected.

use super::*;

pub(super) fn sending(serial: u32, delivery: Delivery) -> Sending {
    let tag = Tag { life: Life(1), serial };
    Sending {
        tag,
        at: at(u64::from(serial)),
        mine: MINE,
        counter: u64::from(serial),
        delivery,
        to: vec![SEAT.member],
        audience: Audience::All,
        bytes: 8,
        shed: false,
    }
}

pub(super) fn arrives(sending: &Sending, number: Option<u64>) -> Event {
    Event::Message {
        slot: Slot(1),
        number: number.map(EventNumber),
        sender: MINE.member,
        delivery: sending.delivery,
        payload: payload::write(sending.tag, sending.bytes),
    }
}

/// Returns the issues after the messages `0..sent` were sent and those of `arriving` arrived at one member in
/// that order.
fn issues_of(delivery: Delivery, sent: u32, arriving: &[u32]) -> Vec<String> {
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    (0..sent).for_each(|serial| deliveries.sent(sending(serial, delivery)));
    for serial in arriving {
        deliveries.event(at(10), Life(2), SEAT, &arrives(&sending(*serial, delivery), None), &mut issues);
    }
    let seats = [(SEAT, Life(2)), (Seat { member: MINE.member, ..SEAT }, Life(1))];
    deliveries.finish(&seats.into(), &mut issues);
    issues.lines
}

#[test]
fn messages_lost_doubled_or_overtaken_are_noticed() {
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[0, 1]).is_empty());
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[0])[0].contains("never got"));
    assert!(issues_of(Delivery::ReliableUnordered, 1, &[0, 0])[0].contains("twice"));
    assert!(issues_of(Delivery::ReliableOrdered, 2, &[1, 0])[0].contains("after"));
    assert!(issues_of(Delivery::ReliableUnordered, 2, &[1, 0]).is_empty());
    assert!(issues_of(Delivery::Sequenced { key: 1 }, 3, &[2, 1])[0].contains("after"));
    assert!(issues_of(Delivery::ReliableLatest { key: 1 }, 3, &[2]).is_empty(), "older ones may be skipped");
    assert!(issues_of(Delivery::ReliableLatest { key: 1 }, 3, &[1])[0].contains("never got"));
    assert!(issues_of(Delivery::Unreliable, 1, &[]).is_empty());
    assert!(issues_of(Delivery::Unreliable, 1, &[1])[0].contains("nobody sent"));
}

#[test]
fn what_a_member_sent_may_be_late_when_they_have_come_again() {
    let latest = Delivery::ReliableLatest { key: 1 };
    let again = Mine { member: MemberId(5), slot: Slot(2), ..MINE };
    let second = Sending { mine: again, ..sending(1, latest) };
    let Event::Message { slot, number, delivery, payload, .. } = arrives(&second, None) else {
        unreachable!()
    };
    let of_second = Event::Message { slot, number, sender: again.member, delivery, payload };
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    deliveries.sent(sending(0, latest));
    deliveries.sent(second);
    deliveries.event(at(10), Life(2), SEAT, &of_second, &mut issues);
    deliveries.event(at(10), Life(2), SEAT, &arrives(&sending(0, latest), None), &mut issues);
    assert_eq!(issues.lines, [""; 0]);
}

#[test]
fn a_message_that_arrives_as_another_is_noticed() {
    let issues_of = |told: &Event| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        deliveries.sent(sending(0, Delivery::ReliableUnordered));
        deliveries.event(at(10), Life(2), SEAT, told, &mut issues);
        issues.lines
    };
    let as_sent = sending(0, Delivery::ReliableUnordered);
    assert_eq!(issues_of(&arrives(&as_sent, None)), [""; 0]);
    assert_noticed(&issues_of(&arrives(&sending(0, Delivery::ReliableOrdered), None)), "sent as Reliable");
    let longer = Sending { bytes: 9, ..as_sent.clone() };
    assert_noticed(&issues_of(&arrives(&longer, None)), "as another message");
    let Event::Message { slot, number, delivery, payload, .. } = arrives(&as_sent, None) else {
        unreachable!()
    };
    let by_another = Event::Message { slot, number, sender: MemberId(9), delivery, payload };
    assert_noticed(&issues_of(&by_another), "as another message");
    let never_sent = Event::Refused { slot: Slot(1), counter: 7, code: ErrorCode::Busy };
    assert_noticed(&issues_of(&never_sent), "which it never sent");
}

#[test]
fn an_intruders_message_told_as_a_members_is_noticed() {
    let issues_of = |sender: MemberId| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        let told = Event::Message {
            slot: Slot(1),
            number: None,
            sender,
            delivery: Delivery::Unreliable,
            payload: payload::strange(0),
        };
        deliveries.event(at(10), Life(2), SEAT, &told, &mut issues);
        deliveries.finish(&[(Seat { member: MINE.member, ..SEAT }, Life(1))].into(), &mut issues);
        issues.lines
    };
    assert_eq!(issues_of(MemberId(9)), [""; 0]);
    assert_noticed(&issues_of(MINE.member), "told as one of");
}

#[test]
fn a_message_to_whom_it_is_not_meant_or_that_was_refused_is_noticed() {
    let issues_of = |sent: Sending, seat: Seat, refused: bool| {
        let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
        let told = arrives(&sent, None);
        let (slot, counter) = (sent.mine.slot, sent.counter);
        deliveries.sent(sent);
        deliveries.event(at(10), Life(2), seat, &told, &mut issues);
        if refused {
            let refused = Event::Refused { slot, counter, code: ErrorCode::Busy };
            deliveries.event(at(10), Life(1), SEAT, &refused, &mut issues);
        }
        deliveries.finish(&BTreeMap::new(), &mut issues);
        issues.lines
    };
    let own = Seat { member: MINE.member, ..SEAT };
    let sent = |audience| Sending { audience, ..sending(0, Delivery::ReliableUnordered) };
    assert_eq!(issues_of(sent(Audience::All), own, false), [""; 0]);
    assert_eq!(issues_of(sent(Audience::Named), SEAT, false), [""; 0]);
    assert_noticed(&issues_of(sent(Audience::Others), own, false), "not for them");
    assert_noticed(&issues_of(sent(Audience::Named), own, false), "not for them");
    assert_noticed(&issues_of(sent(Audience::All), SEAT, true), "was refused");
}

/// When the sender and the receiver had entered; messages are sent after it.
const ENTERED: u64 = 1_000;

/// A message of the life that ann has, sent at `sent`.
fn sent_at(sent: u64, serial: u32, delivery: Delivery) -> Sending {
    Sending { at: at(sent), ..sending(serial, delivery) }
}

/// Returns the issues of a run in which nothing is dropped and both members stay until `end`. `arriving` are
/// the serials of the messages that arrived at the receiver, with the times.
fn dropped(sent: &[Sending], arriving: &[(u32, u64)], end: u64) -> Vec<String> {
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    let presence = present(&[SEAT.member, MINE.member]);
    sent.iter().for_each(|sending| deliveries.sent(sending.clone()));
    for (serial, millis) in arriving {
        let told = arrives(&sent[*serial as usize], None);
        deliveries.event(at(*millis), Life(2), SEAT, &told, &mut issues);
    }
    deliveries.all_arrived(at(end), &presence, &mut issues);
    issues.lines
}

/// Members, each a life of the same number, who have entered at [`ENTERED`].
fn present(members: &[MemberId]) -> Presence {
    let mut presence = Presence::default();
    for member in members {
        let event = entered(mirror(member.0, 2, &[(member.0, "ann")]));
        let seat = Seat { session: SESSION, member: *member };
        presence.event(at(ENTERED), Life(member.0), seat, &event);
    }
    presence
}

#[test]
fn an_unreliable_message_that_nothing_drops_must_arrive_soon() {
    let sent = [sent_at(1_100, 0, Delivery::Unreliable)];
    assert_eq!(dropped(&sent, &[(0, 1_200)], 9_000), [""; 0]);
    assert_noticed(&dropped(&sent, &[], 9_000), "though nothing drops it");
    assert_noticed(&dropped(&sent, &[(0, 2_200)], 9_000), "though nothing drops it");
    assert_eq!(dropped(&sent, &[], 2_000), [""; 0], "it may be on its way");
    let early = [sent_at(ENTERED, 0, Delivery::Unreliable)];
    assert_eq!(dropped(&early, &[], 9_000), [""; 0], "the receiver may not have entered");
    let shed = [Sending { shed: true, ..sent[0].clone() }];
    assert_eq!(dropped(&shed, &[], 9_000), [""; 0], "it never left");
}

#[test]
fn of_a_key_the_value_or_a_newer_one_must_arrive_soon() {
    for delivery in [Delivery::Sequenced { key: 1 }, Delivery::ReliableLatest { key: 1 }] {
        let sent = [sent_at(1_100, 0, delivery), sent_at(1_500, 1, delivery)];
        assert_eq!(dropped(&sent, &[(1, 1_600)], 9_000), [""; 0], "the first was replaced");
        assert_noticed(&dropped(&sent, &[(0, 1_200)], 9_000), "though nothing drops it");
        let later = [sent_at(1_100, 0, delivery), sent_at(2_500, 1, delivery)];
        assert_noticed(&dropped(&later, &[(1, 2_600)], 9_000), "though nothing drops it");
        let mut to_others = sent.clone();
        to_others[1].to.clear();
        assert_eq!(dropped(&to_others, &[], 9_000), [""; 0], "one for others has replaced it");
    }
}

/// Returns whether an unreliable message sent at 1,100 had to arrive where `disturb` happens.
fn is_due(disturb: fn(&mut Presence)) -> bool {
    let (mut deliveries, mut issues) = (Deliveries::default(), Issues::default());
    let mut presence = present(&[SEAT.member, MINE.member]);
    disturb(&mut presence);
    deliveries.sent(sent_at(1_100, 0, Delivery::Unreliable));
    deliveries.all_arrived(at(9_000), &presence, &mut issues);
    assert_eq!(deliveries.due(), issues.lines.len() as u64);
    deliveries.due() == 1
}

#[test]
fn a_message_of_or_to_a_member_who_does_not_stay_need_not_arrive() {
    assert!(is_due(|_| ()));
    assert!(!is_due(|presence| presence.disturbed(at(2_000), Life(1))), "the sender");
    assert!(!is_due(|presence| presence.disturbed(at(1_050), Life(2))), "the receiver");
    assert!(is_due(|presence| presence.disturbed(at(2_200), Life(2))));
    assert!(!is_due(|presence| presence.event(at(2_000), Life(2), SEAT, &deleted(3, DeleteReason::Deleted))));
    assert!(is_due(|presence| presence.event(at(2_200), Life(2), SEAT, &deleted(3, DeleteReason::Deleted))));
}
