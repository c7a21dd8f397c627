//! `quinn`: QUIC with one bidirectional stream per client, on one current-thread runtime.
//!
//! A message is a frame after a length of two bytes. QUIC has no Nagle algorithm to turn off, and everything
//! that a turn has for a client is written at once. Settings: acks come within 5 ms instead of 25 ms, by
//! quinn's extension for ack frequency, so that losses are noticed sooner. The initial RTT is 50 ms instead
//! of 333 ms, so that an early loss does not cost a second. Fairness between streams is off, since there is
//! only one. Congestion control is the default, Cubic. Keep-alives are sent every 3 s and the timeout is 10
//! s, as in Rallypoint. The certificate is self-signed, and clients know it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::{
    AckFrequencyConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, Incoming, RecvStream, SendStream,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use super::Counts;
use crate::error::{Error, Result};
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys;

mod clients;
mod frames;

pub use self::clients::connect;
use self::frames::{Frames, Outgoing};

/// The name in the certificate.
const NAME: &str = "localhost";
/// Maximum number of clients.
const MAX_CLIENTS: usize = 65_536;

/// Returns the transport settings of both ends.
fn transport() -> Result<Arc<TransportConfig>> {
    let mut acks = AckFrequencyConfig::default();
    acks.max_ack_delay(Some(Duration::from_millis(5)));
    let timeout = IdleTimeout::try_from(Duration::from_secs(10));
    let mut config = TransportConfig::default();
    config
        .ack_frequency_config(Some(acks))
        .initial_rtt(Duration::from_millis(50))
        .send_fairness(false)
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .keep_alive_interval(Some(Duration::from_secs(3)))
        .max_idle_timeout(Some(timeout.map_err(Error::while_doing("setting a timeout"))?));
    Ok(Arc::new(config))
}

/// State shared by the server's tasks.
#[derive(Default)]
struct Shared {
    rooms: RefCell<Rooms>,
    members: RefCell<HashMap<usize, Rc<Outgoing>>>,
}

/// Connections whose datagrams the control thread counts.
type Counted = Arc<Mutex<Vec<Connection>>>;

/// Runs the server.
pub fn serve(announce: Announce) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("starting the runtime"))?;
    LocalSet::new().block_on(&runtime, accept(announce))
}

async fn accept(announce: Announce) -> Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]);
    let made = made.map_err(Error::while_doing("making a certificate"))?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::with_single_cert(vec![made.cert.der().clone()], key);
    let mut config = config.map_err(Error::while_doing("taking the certificate"))?;
    config.transport_config(transport()?);
    let socket = sys::udp_server().map_err(Error::io("binding"))?;
    let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime));
    let endpoint = endpoint.map_err(Error::io("starting the endpoint"))?;
    let addr = endpoint.local_addr().map_err(Error::io("binding"))?;
    let counted = Counted::default();
    let read = Arc::clone(&counted);
    announce.ready(addr, &hex(made.cert.der()), move || Some(count(&read)))?;
    let shared = Rc::new(Shared::default());
    let failed: Rc<(Notify, RefCell<Option<Error>>)> = Rc::default();
    for number in 0..MAX_CLIENTS {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming.ok_or_else(|| Error::bound("the endpoint has ended"))?,
            () = failed.0.notified() => {
                return Err(failed.1.take().unwrap_or_else(|| Error::bound("a connection failed")));
            }
        };
        let (shared, counted, failed) = (Rc::clone(&shared), Arc::clone(&counted), Rc::clone(&failed));
        spawn_local(async move {
            if let Err(error) = serve_one(incoming, number, &shared, &counted).await {
                failed.1.replace(Some(error));
                failed.0.notify_one();
            }
        });
    }
    Err(Error::bound("too many clients"))
}

/// Forwards the messages of one client until it is gone.
async fn serve_one(incoming: Incoming, number: usize, shared: &Rc<Shared>, counted: &Counted) -> Result<()> {
    let connection = incoming.await.map_err(Error::while_doing("accepting"))?;
    counted.lock().unwrap_or_else(PoisonError::into_inner).push(connection.clone());
    let streams: std::result::Result<(SendStream, RecvStream), _> = connection.accept_bi().await;
    let (send, receive) = streams.map_err(Error::while_doing("accepting a stream"))?;
    let outgoing = Rc::new(Outgoing::default());
    shared.members.borrow_mut().insert(number, Rc::clone(&outgoing));
    let writer = Rc::clone(&outgoing);
    // Ends with the connection, whose end the reader reports.
    spawn_local(async move { writer.write_to(send).await });
    let mut frames = Frames::new(receive);
    let mut result = Ok(());
    while let Some(chunk) = frames.read().await {
        result = frames.cut(&chunk, &mut |message| {
            let mut rooms = shared.rooms.borrow_mut();
            let members = shared.members.borrow();
            for recipient in rooms.recipients(number, message)? {
                if let Some(member) = members.get(recipient) {
                    member.queue(message)?;
                }
            }
            Ok(())
        });
        if result.is_err() {
            break;
        }
    }
    shared.members.borrow_mut().remove(&number);
    result
}

fn count(connections: &Counted) -> Counts {
    let connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
    connections.iter().map(Connection::stats).fold(Counts::default(), |sum, stats| Counts {
        datagrams: sum.datagrams + stats.udp_tx.datagrams + stats.udp_rx.datagrams,
        bytes: sum.bytes + stats.udp_tx.bytes + stats.udp_rx.bytes,
    })
}

/// Returns the certificate as hexadecimal text for the announcement's line.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
