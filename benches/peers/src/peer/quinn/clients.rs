//! The clients of `quinn`, with one socket, endpoint and connection each.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, TokioRuntime};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_local};

use super::frames::{Frames, Outgoing};
use super::{NAME, transport};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Clients, Inbox, Spec, TokioLoop, join_all};
use crate::sys;

/// Number of simultaneous handshakes.
const AT_ONCE: usize = 16;

struct QuinnClients {
    clients: Vec<One>,
    tokio: TokioLoop,
}

struct One {
    outgoing: Rc<Outgoing>,
    /// Kept, because dropping them would close the connection.
    _connection: (Endpoint, Connection),
}

/// Connects the clients.
pub fn connect(spec: &Spec, inbox: &Inbox) -> Result<Box<dyn Clients>> {
    let mut tokio = TokioLoop::new()?;
    let config = config(&spec.extra)?;
    let arrived = Arc::clone(&tokio.arrived);
    let clients = tokio.block_on(async {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        let mut tasks = JoinSet::new();
        for number in 0..spec.clients() {
            let (config, turns, inbox) = (config.clone(), Arc::clone(&turns), inbox.clone());
            let (arrived, server) = (Arc::clone(&arrived), spec.server);
            tasks.spawn_local(async move {
                let _turn = turns.acquire().await;
                let socket = sys::udp_unconnected().map_err(Error::io("binding"))?;
                let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime));
                let endpoint = endpoint.map_err(Error::io("starting a client"))?;
                let connecting = endpoint.connect_with(config, server, NAME);
                let connecting = connecting.map_err(Error::while_doing("connecting"))?;
                let connection = connecting.await.map_err(Error::while_doing("connecting"))?;
                let streams = connection.open_bi().await;
                let (send, receive) = streams.map_err(Error::while_doing("opening a stream"))?;
                let outgoing = Rc::new(Outgoing::default());
                let writer = Rc::clone(&outgoing);
                spawn_local(async move { writer.write_to(send).await });
                spawn_local(async move {
                    let mut frames = Frames::new(receive);
                    while let Some(chunk) = frames.read().await {
                        let cut = frames.cut(&chunk, &mut |message| {
                            inbox.take(number, message);
                            Ok(())
                        });
                        cut.unwrap_or_else(|error| inbox.trouble(&error));
                        arrived.notify_one();
                    }
                    inbox.trouble(&"a client lost its connection");
                });
                Ok::<_, Error>((number, One { outgoing, _connection: (endpoint, connection) }))
            });
        }
        let limit = Duration::from_nanos(CONNECT_NANOS);
        let all = tokio::time::timeout(limit, tasks.join_all()).await;
        all.map_err(|_| Error::bound("connecting takes too long"))
    })?;
    let mut clients = clients.into_iter().collect::<Result<Vec<_>>>()?;
    clients.sort_by_key(|(number, _)| *number);
    let clients = clients.into_iter().map(|(_, one)| one).collect();
    let mut clients = QuinnClients { clients, tokio };
    join_all(spec, &mut clients, inbox)?;
    Ok(Box::new(clients))
}

/// Returns the configuration of a client that knows the server's certificate, given in hexadecimal.
fn config(certificate: &str) -> Result<ClientConfig> {
    let byte = |at: usize| certificate.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let bytes: Option<Vec<u8>> = (0..certificate.len()).step_by(2).map(byte).collect();
    let bytes = bytes.ok_or_else(|| Error::bound("the server's certificate is no hexadecimal"))?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(bytes)).map_err(Error::while_doing("taking the certificate"))?;
    let config = ClientConfig::with_root_certificates(Arc::new(roots));
    let mut config = config.map_err(Error::while_doing("taking the certificate"))?;
    config.transport_config(transport()?);
    Ok(config)
}

impl Clients for QuinnClients {
    fn send(&mut self, client: usize, body: &[u8]) -> Result<()> {
        self.clients[client].outgoing.queue(body)
    }

    fn turn(&mut self, deadline: u64) -> Result<()> {
        self.tokio.turn(deadline)
    }
}
