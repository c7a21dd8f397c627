//! A relay for one client that keeps a copy of the client's datagrams.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// A relay that runs until it is dropped.
pub struct Relay {
    pub address: SocketAddr,
    captured: Arc<Mutex<Vec<Bytes>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const ENOUGH: usize = 4;
const DEADLINE: Duration = Duration::from_secs(30);

impl Relay {
    /// Relays between one client and `server`.
    pub fn start(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let captured = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (captured, stop) = (captured.clone(), stop.clone());
            std::thread::spawn(move || relay(&front, &back, &captured, &stop))
        };
        Self { address, captured, stop, thread: Some(thread) }
    }

    /// Waits until the client has sent a handshake and some sealed packets, and returns its datagrams so far.
    pub fn capture(&self) -> Vec<Bytes> {
        let start = Instant::now();
        loop {
            let captured = self.captured.lock().unwrap().clone();
            if captured.iter().filter(|datagram| datagram[0] & 0x80 != 0).count() >= ENOUGH {
                return captured;
            }
            assert!(start.elapsed() < DEADLINE, "the client said too little");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn relay(front: &UdpSocket, back: &UdpSocket, captured: &Mutex<Vec<Bytes>>, stop: &AtomicBool) {
    for socket in [front, back] {
        socket.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    }
    let mut client = None;
    let mut buffer = [0; 2_048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, from)) = front.recv_from(&mut buffer) {
            client = Some(from);
            captured.lock().unwrap().push(Bytes::copy_from_slice(&buffer[..length]));
            let _ = back.send(&buffer[..length]);
        }
        if let (Ok(length), Some(client)) = (back.recv(&mut buffer), client) {
            let _ = front.send_to(&buffer[..length], client);
        }
    }
}
