//! Counts a client's file descriptors. The only test in its process, because others would also open some.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::num::NonZeroU8;
use std::time::{Duration, SystemTime};

use rallypoint::base::UserId;
use rallypoint::client::{Client, ClientConfig, Events};
use rallypoint::secure::TokenKey;
use rallypoint::secure::token::{MintRequest, mint};
use rallypoint::server::Server;
use rand::SeedableRng;
use rand::rngs::StdRng;

const GAME: u64 = 7;

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_client_has_one_descriptor() {
    let key = TokenKey::from_bytes(&[1; 32]);
    let server = Server::builder(GAME).listen(([127, 0, 0, 1], 0).into()).key(key.clone());
    // Only one worker: once it has answered, all its descriptors are open, while a second one might still be
    // opening some.
    let server = server.workers(NonZeroU8::MIN).start().unwrap();
    let connect = async |name: String| -> (Client, Events) {
        let request = MintRequest::new(UserId::new(&name).unwrap(), server.local_addr().to_string());
        let grant = mint(&key, request, SystemTime::now().into(), &mut StdRng::from_os_rng()).unwrap();
        Client::connect(&grant, ClientConfig::new(GAME)).await.unwrap()
    };
    // The first client opens what all clients of a runtime share.
    let mut clients = vec![connect("first".to_owned()).await];
    let before = open_descriptors();
    for number in 0..20 {
        clients.push(connect(format!("user-{number}")).await);
    }
    assert_eq!(open_descriptors(), before + 20);
    drop(clients);
    server.shutdown(Duration::ZERO).unwrap();
}
