//! The loop on real loopback sockets, with the same behaviour on both [`IoPath`]s.

mod datagrams;
#[cfg(target_os = "linux")]
mod marks;
#[cfg(target_os = "linux")]
mod routes;
mod turns;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::{BufferSizes, Clock, Driven, IoPath, Socket, ThreadLoop, bind, drive};
use crate::base::{Ecn, Envelope, Now, Route, Timestamp};

const PATHS: [IoPath; 2] = [IoPath::Batched, IoPath::Portable];

fn socket(path: IoPath) -> Socket {
    bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap().with_path(path)
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    runtime().block_on(future)
}

/// A loop that has not started.
enum Loop {
    Task(Runtime, Arc<Notify>),
    Thread(ThreadLoop),
}

impl Loop {
    /// Returns loops as a task and on a thread of their own, with each path.
    fn each() -> impl Iterator<Item = (String, IoPath, Self)> {
        PATHS.into_iter().flat_map(|path| {
            let task = (format!("task, {path:?}"), path, Self::Task(runtime(), Arc::default()));
            let thread = Self::Thread(ThreadLoop::new(path).unwrap());
            [task, (format!("thread, {path:?}"), path, thread)]
        })
    }

    fn wake(&self) -> Box<dyn Fn() + Send + Sync> {
        match self {
            Self::Task(_, notify) => {
                let notify = Arc::clone(notify);
                Box::new(move || notify.notify_one())
            }
            Self::Thread(thread) => {
                let wake = thread.wake();
                Box::new(move || wake.wake())
            }
        }
    }

    /// Drives the machine to its end; aborts the process if that takes more than a minute.
    fn run(self, socket: Socket, driven: &mut (dyn Driven + Send)) {
        let (has_ended, ends) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            if ends.recv_timeout(Duration::from_secs(60)) == Err(RecvTimeoutError::Timeout) {
                std::process::abort();
            }
        });
        let driven = match self {
            Self::Task(runtime, notify) => runtime.block_on(drive(socket, Clock::new(), driven, notify)),
            Self::Thread(thread) => thread.run(socket, Clock::new(), driven),
        };
        driven.unwrap();
        drop(has_ended);
    }
}

/// A machine that records its input, sends the datagrams it is given, and ends on request.
#[derive(Default)]
struct Script {
    received: Vec<(SocketAddr, Vec<u8>)>,
    outgoing: VecDeque<(SocketAddr, Vec<u8>)>,
    /// Marks of received datagrams, and of sent ones, which leave unmarked once these run out.
    marks: Vec<Ecn>,
    outgoing_marks: VecDeque<Ecn>,
    /// Sends every datagram back.
    echo: bool,
    wakes: usize,
    /// Set when it has been woken, for another thread to see.
    is_woken: Arc<AtomicBool>,
    turns: usize,
    timeouts: usize,
    deadline: Option<Timestamp>,
    /// The first batch sets a deadline that has already passed.
    is_late: bool,
    received_by_timeout: usize,
    /// Time that handling a batch takes.
    work: Duration,
    /// Number of datagrams since it was last asked for output, and the maximum of that number.
    gathered: usize,
    most_gathered: usize,
    /// Number of datagrams after which it is done, if `finish` uses it.
    expected: usize,
    finish: Option<fn(&Script) -> bool>,
    /// Set by another thread to end the machine.
    stop: Arc<AtomicBool>,
}

impl Driven for Script {
    fn handle_datagrams(&mut self, now: Now, batch: &mut dyn Iterator<Item = (Envelope, BytesMut)>) {
        if std::mem::take(&mut self.is_late) {
            self.deadline = Some(now.mono);
        }
        for (Envelope { route: Route { remote: from, .. }, ecn }, datagram) in batch {
            self.marks.push(ecn);
            if self.echo {
                self.outgoing.push_back((from, datagram.to_vec()));
            }
            self.received.push((from, datagram.to_vec()));
            self.gathered += 1;
        }
        self.most_gathered = self.most_gathered.max(self.gathered);
        std::thread::sleep(self.work);
    }

    fn handle_wake(&mut self, _: Now) {
        self.wakes += 1;
        self.is_woken.store(true, Ordering::Relaxed);
    }

    fn handle_timeout(&mut self, now: Now) {
        assert!(self.deadline.take().is_some_and(|deadline| deadline <= now.mono), "never early");
        self.timeouts += 1;
        self.received_by_timeout = self.received.len();
    }

    fn poll_transmit(&mut self, _: Now, out: &mut BytesMut) -> Option<Envelope> {
        assert!(out.is_empty());
        self.turns += 1;
        self.gathered = 0;
        let (to, datagram) = self.outgoing.pop_front()?;
        out.put_slice(&datagram);
        let ecn = self.outgoing_marks.pop_front().unwrap_or_default();
        Some(Route::from(to).marked(ecn))
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.deadline
    }

    fn is_finished(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.finish.is_some_and(|finish| finish(self))
    }
}

/// Sends datagrams from one machine to another over every pair of paths, and checks that they arrive. They
/// must fit in a socket's buffer. `check_batches` gets the number of batches in which they arrived.
fn carry(sent: &[Vec<u8>], mut check_batches: impl FnMut(IoPath, u64)) {
    for (out_path, in_path) in PATHS.into_iter().flat_map(|out| PATHS.map(|inn| (out, inn))) {
        let (sender, receiver) = (socket(out_path), socket(in_path));
        let (from, to) = (sender.local_addr().unwrap(), receiver.local_addr().unwrap());
        let counters = [sender.counters(), receiver.counters()];
        let outgoing = sent.iter().map(|datagram| (to, datagram.clone())).collect();
        let mut source = Script { outgoing, finish: Some(|_| true), ..Script::default() };
        let expected: Vec<_> = sent.iter().map(|datagram| (from, datagram.clone())).collect();
        let finish: fn(&Script) -> bool = |script| script.received.len() >= script.expected;
        let mut sink = Script { expected: expected.len(), finish: Some(finish), ..Script::default() };
        run(async {
            drive(sender, Clock::new(), &mut source, Arc::new(Notify::new())).await.unwrap();
            drive(receiver, Clock::new(), &mut sink, Arc::new(Notify::new())).await.unwrap();
        });
        assert!(sink.received == expected, "{out_path:?} to {in_path:?}");
        let total = (sent.len() as u64, sent.iter().map(Vec::len).sum::<usize>() as u64);
        assert_eq!((counters[0].datagrams_out.get(), counters[0].bytes_out.get()), total);
        assert_eq!((counters[1].datagrams_in.get(), counters[1].bytes_in.get()), total);
        check_batches(in_path, counters[1].batches_in.get());
    }
}
