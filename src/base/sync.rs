//! The lock that guards shared state, the atomics used beside it, and padding between them.
//!
//! [`Mutex`] is `std::sync::Mutex` without poisoning. Guarded state is changed only after every check, so a
//! panic leaves it consistent. In this crate's unit tests, a `Mutex` or atomic made inside `model::check` is
//! shuttle's instead, which explores the orders in which tasks can take it.

use std::ops::{Deref, DerefMut};

#[cfg(test)]
pub(crate) use self::model::{AtomicU64, AtomicUsize};
#[cfg(not(test))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize};

#[cfg(all(test, feature = "server"))]
pub(crate) use self::model::AtomicBool;
#[cfg(all(not(test), feature = "server"))]
pub(crate) use std::sync::atomic::AtomicBool;

/// Keeps its contents off the cache lines of adjacent values.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct CachePadded<T>(pub T);

impl<T> Deref for CachePadded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A mutual exclusion lock.
#[derive(Debug)]
pub struct Mutex<T>(Inner<T>);

#[derive(Debug)]
enum Inner<T> {
    Std(std::sync::Mutex<T>),
    #[cfg(test)]
    Model(shuttle::sync::Mutex<T>),
}

impl<T> Mutex<T> {
    /// Creates an unlocked mutex.
    pub fn new(value: T) -> Self {
        #[cfg(test)]
        if model::is_running() {
            return Self(Inner::Model(shuttle::sync::Mutex::new(value)));
        }
        Self(Inner::Std(std::sync::Mutex::new(value)))
    }

    /// Waits for the lock and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        use std::sync::PoisonError;
        match &self.0 {
            Inner::Std(mutex) => {
                MutexGuard(GuardInner::Std(mutex.lock().unwrap_or_else(PoisonError::into_inner)))
            }
            #[cfg(test)]
            Inner::Model(mutex) => {
                MutexGuard(GuardInner::Model(mutex.lock().unwrap_or_else(PoisonError::into_inner)))
            }
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// Access to the value that a [`Mutex`] guards; unlocks when dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T>(GuardInner<'a, T>);

#[derive(Debug)]
enum GuardInner<'a, T> {
    Std(std::sync::MutexGuard<'a, T>),
    #[cfg(test)]
    Model(shuttle::sync::MutexGuard<'a, T>),
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            GuardInner::Std(guard) => guard,
            #[cfg(test)]
            GuardInner::Model(guard) => guard,
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            GuardInner::Std(guard) => guard,
            #[cfg(test)]
            GuardInner::Model(guard) => guard,
        }
    }
}

#[cfg(test)]
pub(crate) mod model {
    //! Runs a test body under many interleavings of its tasks (`shuttle::thread`). Atomics are sequentially
    //! consistent there, whatever ordering is requested.
    //!
    //! Half of the schedules choose the next task at random at every step. They mix the tasks finely, but
    //! hardly ever let one run through the long turn of another. The other half give the tasks random
    //! priorities, which change at a few random steps (probabilistic concurrency testing, PCT), and so find
    //! just that.

    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::ops::RangeInclusive;
    use std::sync::atomic::Ordering;
    use std::sync::{Arc, Mutex};

    thread_local! {
        static RUNNING: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn is_running() -> bool {
        RUNNING.get()
    }

    /// Declares an atomic that is shuttle's while a model runs, with the operations that this crate uses.
    macro_rules! atomic {
        ($name:ident, $value:ty { $($method:ident($($argument:ident: $type:ty),*) -> $result:ty;)+ }) => {
            #[derive(Debug)]
            pub(crate) enum $name {
                Std(std::sync::atomic::$name),
                Model(shuttle::sync::atomic::$name),
            }

            impl $name {
                pub(crate) fn new(value: $value) -> Self {
                    if is_running() {
                        return Self::Model(shuttle::sync::atomic::$name::new(value));
                    }
                    Self::Std(std::sync::atomic::$name::new(value))
                }

                $(pub(crate) fn $method(&self, $($argument: $type),*) -> $result {
                    match self {
                        Self::Std(atomic) => atomic.$method($($argument),*),
                        Self::Model(atomic) => atomic.$method($($argument),*),
                    }
                })+
            }

            impl Default for $name {
                fn default() -> Self {
                    Self::new(<$value>::default())
                }
            }
        };
    }

    #[cfg(feature = "server")]
    atomic!(AtomicBool, bool {
        swap(value: bool, order: Ordering) -> bool;
    });
    atomic!(AtomicU64, u64 {
        load(order: Ordering) -> u64;
        store(value: u64, order: Ordering) -> ();
        swap(value: u64, order: Ordering) -> u64;
        fetch_min(value: u64, order: Ordering) -> u64;
    });
    atomic!(AtomicUsize, usize {
        load(order: Ordering) -> usize;
        fetch_add(value: usize, order: Ordering) -> usize;
        fetch_sub(value: usize, order: Ordering) -> usize;
    });

    impl AtomicUsize {
        pub(crate) fn fetch_update(
            &self,
            set: Ordering,
            fetch: Ordering,
            update: impl FnMut(usize) -> Option<usize>,
        ) -> Result<usize, usize> {
            match self {
                Self::Std(atomic) => atomic.fetch_update(set, fetch, update),
                Self::Model(atomic) => atomic.fetch_update(set, fetch, update),
            }
        }
    }

    /// Number of schedules under which [`outcomes`] runs a race at least, and at most.
    const SCHEDULES: RangeInclusive<usize> = 200..=10_000;

    /// Returns the outcomes of `race` under random schedules: of [`SCHEDULES`], until there are as many as are
    /// `expected`.
    pub(crate) fn outcomes<T: Ord + Send + 'static>(
        expected: usize,
        race: impl Fn() -> T + Send + Sync + 'static,
    ) -> BTreeSet<T> {
        let (race, seen) = (Arc::new(race), Arc::new(Mutex::new(BTreeSet::new())));
        for tried in (0..*SCHEDULES.end()).step_by(*SCHEDULES.start()) {
            if tried > 0 && seen.lock().unwrap().len() >= expected {
                break;
            }
            let (race, seen) = (Arc::clone(&race), Arc::clone(&seen));
            check(*SCHEDULES.start(), move || {
                let outcome = race();
                seen.lock().unwrap().insert(outcome);
            });
        }
        Arc::into_inner(seen).unwrap().into_inner().unwrap()
    }

    /// How many times the priorities of the tasks change in a schedule of PCT, and one more: enough for one
    /// task to be held up twice.
    const PCT_DEPTH: usize = 3;

    /// Runs `body` `iterations` times, each time under a different schedule.
    pub(crate) fn check(iterations: usize, body: impl Fn() + Send + Sync + 'static) {
        struct Off;
        impl Drop for Off {
            fn drop(&mut self) {
                RUNNING.set(false);
            }
        }
        RUNNING.set(true);
        let _off = Off;
        let body = Arc::new(body);
        let prioritized = Arc::clone(&body);
        shuttle::check_random(move || body(), iterations - iterations / 2);
        shuttle::check_pct(move || prioritized(), iterations / 2, PCT_DEPTH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_model_run_sees_both_orders_of_two_tasks() {
        let orders = model::outcomes(2, || {
            let log = Arc::new(Mutex::new(Vec::new()));
            let tasks = [1, 2].map(|task| {
                let log = Arc::clone(&log);
                shuttle::thread::spawn(move || log.lock().push(task))
            });
            for task in tasks {
                task.join().unwrap();
            }
            log.lock().clone()
        });
        assert_eq!(orders, [vec![1, 2], vec![2, 1]].into());
    }

    #[test]
    fn a_panic_under_the_lock_does_not_poison_it() {
        let mutex = Arc::new(Mutex::new(1));
        let in_panic = Arc::clone(&mutex);
        let panicked = std::panic::catch_unwind(move || {
            let _guard = in_panic.lock();
            panic!("on purpose");
        });
        assert!(panicked.is_err());
        assert_eq!(*mutex.lock(), 1);
    }
}
