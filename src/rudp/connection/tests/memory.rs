//! What the connections of a process may keep together.

use super::*;

/// Budgets of a process with so many bytes.
pub(super) fn budgets(receive: usize, send: usize) -> MemoryBudgets {
    MemoryBudgets { receive: MemoryBudget::new(receive), send: MemoryBudget::new(send) }
}

fn send(pair: &mut Pair, delivery: Delivery, bytes: usize) -> Result<Sent, SendError> {
    pair.ends[SERVER].send(pair.now, STREAM, delivery, Bytes::from(vec![7; bytes]).into())
}

fn pairs(count: u64, budgets: &MemoryBudgets) -> Vec<Pair> {
    let pair = |seed| {
        let mut pair = Pair::new(seed);
        pair.ends[SERVER].share_budgets(budgets);
        pair
    };
    (0..count).map(pair).collect()
}

// spec-test: REL-13
#[test]
fn what_waits_for_many_slow_readers_has_a_ceiling() {
    const OWN: usize = 128 << 10;
    let budgets = budgets(0, 1 << 20);
    let mut slow = pairs(8, &budgets);
    let mut refused = 0;
    for _ in 0..50 {
        for pair in &mut slow {
            match send(pair, Delivery::ReliableOrdered, 20_000) {
                Ok(_) => {}
                Err(SendError::WouldBlock) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        let queued: usize = slow.iter().map(|pair| pair.ends[SERVER].queued_bytes()).sum();
        assert!(queued <= (1 << 20) + 8 * OWN && budgets.send.held() <= 1 << 20, "{queued} bytes wait");
    }
    assert!(refused > 200, "{refused} were refused");
    // Whoever takes what it is sent does not notice.
    let mut quick = pairs(1, &budgets).remove(0);
    for _ in 0..10 {
        assert_eq!(send(&mut quick, Delivery::ReliableOrdered, 100_000), Ok(Sent::Queued));
        quick.run(SECOND);
    }
    assert_eq!(quick.received[CLIENT].len(), 10);
    let held = budgets.send.held();
    slow[0].run(10 * SECOND);
    assert!(budgets.send.held() < held, "what was acked is given back");
    assert_eq!(send(&mut slow[1], Delivery::ReliableOrdered, 20_000), Ok(Sent::Queued));
    slow[1].ends[SERVER].close(Timestamp::from_millis(1_000), CloseCode::None, "");
    drop(slow);
    assert_eq!(budgets.send.held(), 0);
}

// spec-test: REL-11
#[test]
fn without_memory_for_more_old_unreliable_messages_give_way() {
    let config = ConnectionConfig { unreliable_buffer_bytes: 1 << 20, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(8, config);
    pair.ends[SERVER].share_budgets(&budgets(0, 0));
    for n in 0..200 {
        let delivery = if n % 2 == 0 { Delivery::Unreliable } else { Delivery::Sequenced { key: n } };
        assert_eq!(send(&mut pair, delivery, 1_000), Ok(Sent::Queued));
    }
    let kept = (128 << 10) / 1_064;
    assert_eq!(pair.ends[SERVER].stats().messages_shed, 200 - kept);
    assert_eq!(send(&mut pair, Delivery::ReliableOrdered, 1_000), Err(SendError::WouldBlock));
    pair.run(5 * SECOND);
    assert_eq!(pair.received[CLIENT].len() as u64, kept);
    assert_eq!(send(&mut pair, Delivery::ReliableOrdered, 1_000), Ok(Sent::Queued));
}
