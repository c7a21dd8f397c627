//! [`Alarm`]: a timer that shares one descriptor with all others of its runtime.
//!
//! A process with thousands of clients has a descriptor for each of their sockets. A kernel timer for each
//! client would take as many again, and a system call whenever one of them is set. Instead, alarms wait in a
//! [`Queue`], and one timer fires for the first of them. The task that waits for this timer ends with the
//! last alarm of its runtime.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;

use super::sys::TimerFd;

/// Wakes its task at a given time.
pub(super) struct Alarm {
    shared: Arc<SharedTimer>,
    key: u64,
    /// Time at which it is due, once it was set.
    at: Option<Instant>,
    /// The task that it wakes.
    waker: Option<Waker>,
}

impl Alarm {
    /// Creates an alarm of the current runtime, not set.
    ///
    /// # Errors
    /// Those of the system, for the first alarm of a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let shared = SharedTimer::of_this_runtime()?;
        let mut queue = shared.queue();
        queue.last_key += 1;
        let key = queue.last_key;
        drop(queue);
        Ok(Self { shared, key, at: None, waker: None })
    }

    /// Sets the alarm; an earlier setting is discarded.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn set(&mut self, at: Instant) -> io::Result<()> {
        let mut queue = self.shared.queue();
        if let Some(before) = self.at.replace(at) {
            queue.waits.remove(&(before, self.key));
        }
        queue.waits.insert((at, self.key), self.waker.clone());
        queue.arm(&self.shared.timer)
    }

    /// Returns ready once the alarm is due, otherwise wakes the task then.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        if at <= Instant::now() {
            return Poll::Ready(());
        }
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
            match self.shared.queue().waits.get_mut(&(at, self.key)) {
                Some(waker) => waker.clone_from(&self.waker),
                // It has fired since the check above, for no task or for another one.
                None => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.shared.queue().waits.remove(&(at, self.key));
        }
    }
}

/// The timer for all alarms of a runtime.
struct SharedTimer {
    timer: Arc<AsyncFd<TimerFd>>,
    queue: Arc<Mutex<Queue>>,
    task: AbortHandle,
}

/// The timers of all runtimes, including some that have ended.
static TIMERS: Mutex<Vec<(Id, Weak<SharedTimer>)>> = Mutex::new(Vec::new());

impl SharedTimer {
    fn of_this_runtime() -> io::Result<Arc<Self>> {
        let runtime = Handle::current().id();
        let mut timers = lock(&TIMERS);
        timers.retain(|(_, shared)| shared.strong_count() > 0);
        let mut of_this =
            timers.iter().filter(|(id, _)| *id == runtime).filter_map(|(_, shared)| shared.upgrade());
        // A timer whose task has finished belongs to a runtime that has ended and whose id was assigned
        // again.
        if let Some(shared) = of_this.find(|shared| !shared.task.is_finished()) {
            return Ok(shared);
        }
        let shared = Arc::new(Self::new()?);
        timers.push((runtime, Arc::downgrade(&shared)));
        Ok(shared)
    }

    fn new() -> io::Result<Self> {
        let timer = Arc::new(TimerFd::new()?.register()?);
        let queue = Arc::default();
        let task = tokio::spawn(fire(Arc::clone(&timer), Arc::clone(&queue))).abort_handle();
        Ok(Self { timer, queue, task })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

impl Drop for SharedTimer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Wakes the tasks of due alarms, until the runtime ends.
async fn fire(timer: Arc<AsyncFd<TimerFd>>, queue: Arc<Mutex<Queue>>) {
    let mut due = Vec::new();
    while let Ok(mut fired) = timer.readable().await {
        fired.clear_ready();
        let mut queue = lock(&queue);
        queue.take_due(Instant::now(), &mut due);
        if let Err(error) = queue.arm(&timer) {
            return tracing::warn!(%error, "the clients' timer failed");
        }
        drop(queue);
        // Without the lock: waking a task may drop it, and its alarm with it.
        due.drain(..).flatten().for_each(Waker::wake);
    }
}

/// The waiting alarms, the earliest first.
#[derive(Default)]
struct Queue {
    /// By time, and by the alarm's key.
    waits: BTreeMap<(Instant, u64), Option<Waker>>,
    last_key: u64,
    /// Time at which the timer fires. Only an earlier time sets it again, because most alarms are moved
    /// before they are due.
    armed: Option<Instant>,
}

impl Queue {
    fn take_due(&mut self, now: Instant, due: &mut Vec<Option<Waker>>) {
        self.armed = None;
        while let Some(first) = self.waits.first_entry().filter(|first| first.key().0 <= now) {
            due.push(first.remove());
        }
    }

    fn arm(&mut self, timer: &AsyncFd<TimerFd>) -> io::Result<()> {
        match self.waits.first_key_value() {
            Some(((first, _), _)) if self.armed.is_none_or(|armed| *first < armed) => {
                let delay = first.checked_duration_since(Instant::now()).unwrap_or(Duration::ZERO);
                timer.get_ref().arm(delay)?;
                self.armed = Some(*first);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere leaves nothing inconsistent that matters here.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Returns the future's value; panics if nothing wakes it.
    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let in_time = async { tokio::time::timeout(Duration::from_secs(60), future).await };
        runtime.block_on(in_time).expect("it is not woken")
    }

    fn set(millis: u64) -> Alarm {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Instant::now() + Duration::from_millis(millis)).unwrap();
        alarm
    }

    async fn wait(alarm: &mut Alarm) {
        poll_fn(|cx| alarm.poll(cx)).await;
    }

    #[test]
    fn each_wakes_whose_it_is_at_its_last_setting_and_not_before() {
        run(async {
            let (begin, hour) = (Instant::now(), Duration::from_secs(3_600));
            // The first to be set is the last to be due.
            let mut put_off = set(3_600_000);
            let (mut later, mut sooner) = (set(20), set(10));
            put_off.set(begin + Duration::from_millis(1)).unwrap();
            later.set(begin + Duration::from_millis(30)).unwrap();
            put_off.set(begin + hour).unwrap();
            let never = tokio::spawn(async move { wait(&mut put_off).await });
            let second = tokio::spawn(async move {
                wait(&mut later).await;
                Instant::now()
            });
            let first = tokio::spawn(async move {
                wait(&mut sooner).await;
                let at = Instant::now();
                sooner.set(begin + Duration::from_millis(60)).unwrap();
                wait(&mut sooner).await;
                (at, Instant::now())
            });
            let (second, (first, again)) = (second.await.unwrap(), first.await.unwrap());
            let since = |at: Instant| at.duration_since(begin).as_millis();
            assert!(since(first) >= 10 && since(second) >= 30 && since(again) >= 60);
            assert!(!never.is_finished());
        });
    }

    #[test]
    fn those_of_a_runtime_share_one_timer_which_ends_with_the_last() {
        run(async {
            let alarms = [set(3_600_000), set(3_600_000), set(3_600_000)];
            assert!(alarms.iter().all(|alarm| Arc::ptr_eq(&alarm.shared, &alarms[0].shared)));
            let (queue, task) = (Arc::clone(&alarms[0].shared.queue), alarms[0].shared.task.clone());
            assert_eq!(lock(&queue).waits.len(), 3);
            drop(alarms);
            assert_eq!(lock(&queue).waits.len(), 0);
            tokio::task::yield_now().await;
            assert!(task.is_finished());
        });
    }

    #[test]
    fn a_timer_whose_runtime_has_ended_is_not_waited_for() {
        let dead = run(async { set(1) });
        run(async {
            lock(&TIMERS).push((Handle::current().id(), Arc::downgrade(&dead.shared)));
            let mut alarm = set(2);
            assert!(!Arc::ptr_eq(&alarm.shared, &dead.shared));
            wait(&mut alarm).await;
        });
    }
}
