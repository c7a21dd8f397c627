//! Mail between workers: one bounded FIFO for each, and the handle that wakes its owner.
//!
//! A mailbox has room for a number of deliveries. Each mail takes as much of it as it leads to deliveries
//! ([`Mail::room`]), holds that while it waits and is handled, and then gives it back:
//!
//! | mail | takes its room by | where there is none |
//! |---|---|---|
//! | a change of a session | [`Mailbox::reserve`], before the change | `busy`; nothing changes |
//! | what cannot be refused, such as leaves | [`Mailbox::post`] | exceeds the capacity |
//! | datagrams, which have room of their own | [`Mailbox::post_droppable`] | is dropped |
//!
//! So a worker that cannot keep up refuses new work instead of leaving a gap in a session's order. Invariant:
//! what is taken of a mailbox is the room of the mail that is reserved and not yet posted, waits, or is being
//! handled. What is posted above the capacity is bounded by the number of memberships, open invites and
//! connections.

use std::collections::VecDeque;
use std::ops::AddAssign;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use super::mail::Mail;
use crate::base::WorkerId;
use crate::base::sync::{AtomicBool, AtomicUsize, CachePadded, Mutex};
use crate::session::{Load, MailboxFull};

/// The mailboxes of all workers, by worker.
pub struct Mailboxes {
    boxes: Box<[CachePadded<Mailbox>]>,
}

/// One worker's incoming mail.
pub struct Mailbox {
    queue: Mutex<VecDeque<Mail>>,
    /// Deliveries of all mail that has taken room and not given it back.
    taken: AtomicUsize,
    /// Droppable mails among it; these take no deliveries.
    droppable: AtomicUsize,
    /// Deliveries for which there is room.
    capacity: usize,
    /// A wake-up is pending that the worker has not answered.
    woken: AtomicBool,
    wake: OnceLock<WakeHandle>,
}

/// The room of one mail in its mailbox, or of several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MailRoom {
    /// Deliveries that the worker makes.
    pub deliveries: usize,
    /// Droppable mails.
    pub droppable: usize,
}

impl MailRoom {
    /// Returns the room of mail that leads to this many deliveries.
    pub fn of(deliveries: usize) -> Self {
        Self { deliveries, droppable: 0 }
    }
}

impl AddAssign for MailRoom {
    fn add_assign(&mut self, more: Self) {
        self.deliveries += more.deliveries;
        self.droppable += more.droppable;
    }
}

/// Droppable mails in a mailbox at most. They hold datagrams that have proved nothing yet.
pub const MAX_DROPPABLE: usize = 4_096;

/// A session may have this many times as many deliveries waiting as there is room left.
const WAITING_TO_ROOM: usize = 8;

/// Wakes a worker that waits for its socket; called outside of all locks.
pub type WakeHandle = Box<dyn Fn() + Send + Sync>;

impl Mailboxes {
    /// Creates empty mailboxes for workers `0..workers`, each with room for `capacity` deliveries.
    pub fn new(workers: u8, capacity: usize) -> Self {
        Self { boxes: (0..workers).map(|_| CachePadded(Mailbox::new(capacity))).collect() }
    }

    /// Returns the ids of all workers.
    pub fn workers(&self) -> impl ExactSizeIterator<Item = WorkerId> + use<> {
        let workers = u8::try_from(self.boxes.len()).expect("invariant: made from a u8");
        (0..workers).map(WorkerId)
    }

    /// Returns the mailbox of `worker`; `None` if the worker does not exist.
    pub fn get(&self, worker: WorkerId) -> Option<&Mailbox> {
        self.boxes.get(usize::from(worker.0)).map(|mailbox| &**mailbox)
    }

    /// Returns true if no worker is so far behind that work for it must be refused.
    pub fn have_room(&self) -> bool {
        self.boxes.iter().all(|mailbox| mailbox.has_room())
    }
}

impl Mailbox {
    fn new(capacity: usize) -> Self {
        Self {
            queue: Mutex::default(),
            taken: AtomicUsize::new(0),
            droppable: AtomicUsize::new(0),
            capacity,
            woken: AtomicBool::new(false),
            wake: OnceLock::new(),
        }
    }

    /// Sets how the worker is woken; only the first call has an effect.
    pub fn set_wake(&self, wake: WakeHandle) {
        let _ = self.wake.set(wake);
    }

    /// Takes the room of one mail, which is then posted with [`Mailbox::post_reserved`]. What one session may
    /// have waiting is proportional to the room left: however many sessions send more than the worker
    /// handles, those that send little find room (the dynamic thresholds of switches with shared memory:
    /// Choudhury and Hahne, 1998).
    ///
    /// # Errors
    /// [`MailboxFull`].
    pub fn reserve(&self, load: Load) -> Result<(), MailboxFull> {
        let has_room = |taken| load.waiting / WAITING_TO_ROOM < self.capacity.saturating_sub(taken);
        let take = |taken| has_room(taken).then_some(taken + load.deliveries);
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(|_| ()).map_err(|_| MailboxFull)
    }

    /// Posts mail whose room was taken with [`Mailbox::reserve`].
    pub fn post_reserved(&self, mail: Mail) {
        self.queue.lock().push_back(mail);
    }

    /// Takes the room of mail that must not be refused, and posts it.
    pub fn post(&self, mail: Mail) {
        self.taken.fetch_add(mail.room().deliveries, Ordering::Relaxed);
        self.queue.lock().push_back(mail);
    }

    /// Takes the room of mail that may be dropped, and posts it. There is room for [`MAX_DROPPABLE`] of them.
    ///
    /// # Errors
    /// [`MailboxFull`].
    pub fn post_droppable(&self, mail: Mail) -> Result<(), MailboxFull> {
        let take = |count| (count < MAX_DROPPABLE).then_some(count + 1);
        let taken = self.droppable.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map_err(|_| MailboxFull)?;
        self.queue.lock().push_back(mail);
        Ok(())
    }

    /// Moves all mail, oldest first, to the end of `into`. For the owner only. The mail holds its room until
    /// the owner has handled it and gives the room back.
    pub fn take_all(&self, into: &mut VecDeque<Mail>) {
        // Cleared before the queue is read, so that a later post wakes again; with acquire, so that
        // everything written before an earlier wake is visible.
        self.woken.swap(false, Ordering::AcqRel);
        let mut queue = self.queue.lock();
        if into.is_empty() {
            std::mem::swap(&mut *queue, into);
        } else {
            into.append(&mut queue);
        }
    }

    /// Gives back the room of mail that was handled, or that was reserved and is not posted.
    pub fn give_back(&self, room: MailRoom) {
        self.taken.fetch_sub(room.deliveries, Ordering::Relaxed);
        self.droppable.fetch_sub(room.droppable, Ordering::Relaxed);
    }

    /// Wakes the owner, unless a wake-up is pending. Must not be called under a lock.
    pub fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    /// Returns the number of mails that wait.
    pub fn len(&self) -> usize {
        self.queue.lock().len()
    }

    /// Returns true if no mail waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the room that is taken.
    #[cfg(any(test, feature = "testing"))]
    pub fn taken(&self) -> MailRoom {
        let [deliveries, droppable] = [&self.taken, &self.droppable].map(|it| it.load(Ordering::Relaxed));
        MailRoom { deliveries, droppable }
    }

    fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ConnectionId;
    use crate::base::sync::model;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    fn mailbox(capacity: usize) -> Mailbox {
        Mailbox::new(capacity)
    }

    /// A mail of one delivery.
    fn mail(number: u32) -> Mail {
        Mail::Ended(ConnectionId(number))
    }

    fn numbers(mail: VecDeque<Mail>) -> Vec<u32> {
        let number = |mail| if let Mail::Ended(ConnectionId(number)) = mail { Some(number) } else { None };
        mail.into_iter().filter_map(number).collect()
    }

    /// Of a session of which nothing waits.
    const ONE: Load = Load { deliveries: 1, waiting: 0 };

    /// Takes all mail, each of one delivery, and handles it.
    fn taken(mailbox: &Mailbox) -> Vec<u32> {
        let mut mail = VecDeque::new();
        mailbox.take_all(&mut mail);
        mailbox.give_back(MailRoom::of(mail.len()));
        numbers(mail)
    }

    #[test]
    fn reserved_room_is_kept_whatever_is_posted_meanwhile() {
        let mailbox = mailbox(1);
        mailbox.reserve(ONE).unwrap();
        assert_eq!(mailbox.reserve(ONE), Err(MailboxFull));
        mailbox.post(mail(1));
        mailbox.post_reserved(mail(2));
        assert_eq!(taken(&mailbox), [1, 2]);
        assert_eq!(mailbox.reserve(ONE), Ok(()), "handling the mail made room");
        mailbox.give_back(MailRoom::of(1));
        assert_eq!(mailbox.reserve(ONE), Ok(()), "so did what was not posted");
    }

    #[test]
    fn what_is_taken_counts_until_it_is_handled() {
        let mailbox = mailbox(4);
        mailbox.reserve(Load { deliveries: 9, waiting: 0 }).unwrap();
        mailbox.post_reserved(mail(1));
        mailbox.take_all(&mut VecDeque::new());
        assert_eq!(mailbox.reserve(ONE), Err(MailboxFull), "one mail may be more than the capacity");
        mailbox.give_back(MailRoom::of(9));
        assert_eq!(mailbox.reserve(ONE), Ok(()));
    }

    /// Each has at most eight times what is left, so sessions that send little find room.
    #[test]
    fn sessions_that_send_all_they_can_leave_room_for_others() {
        for sessions in [1, 3, 100] {
            let mailbox = mailbox(10_000);
            let mut waiting = vec![0; sessions];
            for _ in 0..2_000 {
                for waiting in &mut waiting {
                    let load = Load { deliveries: 8, waiting: *waiting };
                    *waiting += if mailbox.reserve(load).is_ok() { 8 } else { 0 };
                }
            }
            let share = 10_000 * 8 / (sessions * 8 + 1);
            assert!(waiting.iter().all(|waiting| waiting.abs_diff(share) <= 16), "{sessions}: {waiting:?}");
            let left = 10_000 - waiting.iter().sum::<usize>();
            let quiet = (0..left).filter(|_| mailbox.reserve(ONE).is_ok()).count();
            assert_eq!(quiet, left, "one of which nothing waits");
        }
    }

    #[test]
    fn droppable_mail_has_a_limit_of_its_own() {
        let mailbox = mailbox(4);
        (0..4_096).for_each(|number| mailbox.post_droppable(mail(number)).unwrap());
        assert_eq!(mailbox.post_droppable(mail(0)), Err(MailboxFull));
        (0..4).for_each(|_| mailbox.reserve(ONE).unwrap());
        mailbox.take_all(&mut VecDeque::new());
        mailbox.give_back(MailRoom { deliveries: 0, droppable: 1 });
        assert_eq!(mailbox.post_droppable(mail(0)), Ok(()));
        assert_eq!(mailbox.reserve(ONE), Err(MailboxFull));
    }

    #[test]
    fn mail_is_taken_behind_what_is_there() {
        let mailbox = mailbox(4);
        let mut all = VecDeque::from([mail(7)]);
        mailbox.post(mail(8));
        mailbox.take_all(&mut all);
        assert_eq!(numbers(all), [7, 8]);
    }

    #[test]
    fn one_wake_up_at_a_time() {
        let mailbox = mailbox(4);
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        mailbox.set_wake(Box::new(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        }));
        mailbox.wake();
        mailbox.wake();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        taken(&mailbox);
        mailbox.wake();
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }

    /// The owner sleeps only if it has not been woken since it last took its mail.
    #[test]
    fn no_mail_waits_for_an_owner_that_sleeps() {
        model::check(2_000, || {
            let mailbox = Arc::new(mailbox(8));
            let owner_is_awake = Arc::new(Mutex::new(false));
            let awake = Arc::clone(&owner_is_awake);
            mailbox.set_wake(Box::new(move || *awake.lock() = true));
            let posters = [1, 2].map(|number| {
                let mailbox = Arc::clone(&mailbox);
                shuttle::thread::spawn(move || {
                    mailbox.post(mail(number));
                    mailbox.wake();
                })
            });
            let mut taken = VecDeque::new();
            for _ in 0..2 {
                if std::mem::take(&mut *owner_is_awake.lock()) {
                    mailbox.take_all(&mut taken);
                }
                shuttle::thread::yield_now();
            }
            posters.into_iter().for_each(|poster| poster.join().unwrap());
            assert!(mailbox.is_empty() || *owner_is_awake.lock(), "nobody would take it");
        });
    }

    #[test]
    fn many_threads_never_take_more_than_there_is_and_keep_their_order() {
        let mailbox = mailbox(8);
        let (posted, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut all = Vec::new();
        std::thread::scope(|scope| {
            for thread in 0..3_u32 {
                let (mailbox, posted, ended) = (&mailbox, &posted, &ended);
                scope.spawn(move || {
                    for number in 0..1_000 {
                        if mailbox.reserve(ONE).is_ok() {
                            mailbox.post_reserved(mail(thread * 1_000 + number));
                            posted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
            while ended.load(Ordering::Relaxed) < 3 {
                let more = taken(&mailbox);
                assert!(more.len() <= 8, "more than the capacity");
                all.extend(more);
            }
        });
        all.extend(taken(&mailbox));
        assert_eq!(all.len(), posted.into_inner());
        for thread in 0..3 {
            let of_one = all.iter().filter(|number| *number / 1_000 == thread);
            assert!(of_one.is_sorted(), "of one poster the order is kept");
        }
        assert_eq!(mailbox.taken(), MailRoom::default());
    }
}
