//! [`join_all`]: puts every client into its group, by the message that every peer except Rallypoint has for
//! that.

use super::{CONNECT_NANOS, Clients, Inbox, Spec};
use crate::error::{Error, Result};
use crate::message::{Kind, Stamp};
use crate::sys;

/// Number of clients that join at the same time.
const AT_ONCE: usize = 32;
/// Time without an answer after which a client asks again, where messages may be lost.
const AGAIN_NANOS: u64 = 250_000_000;

/// Puts every client into its group, and waits for the server's confirmation.
///
/// # Errors
/// [`Error::Bound`] when that takes too long, or an error of the clients.
pub fn join_all(spec: &Spec, clients: &mut dyn Clients, inbox: &Inbox) -> Result<()> {
    let started = sys::nanos();
    let all: Vec<usize> = (0..spec.clients()).collect();
    for some in all.chunks(AT_ONCE) {
        let mut asked = 0;
        loop {
            let waiting: Vec<usize> =
                some.iter().copied().filter(|client| !inbox.has_joined(*client)).collect();
            let now = sys::nanos();
            if waiting.is_empty() {
                break;
            }
            if now - started > CONNECT_NANOS {
                return Err(Error::bound(format_args!(
                    "{} clients did not get into a group",
                    inbox.missing()
                )));
            }
            if asked == 0 || spec.peer.may_lose() && now >= asked + AGAIN_NANOS {
                asked = now;
                for client in waiting {
                    clients.send(client, &request(spec, client))?;
                }
            }
            clients.turn(now + 10_000_000)?;
        }
    }
    Ok(())
}

fn request(spec: &Spec, client: usize) -> [u8; 64] {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let mut body = [0; 64];
    let kind = Kind::Join(number(spec.first_session + client / spec.members));
    Stamp { kind, sender: number(client), sent_nanos: sys::nanos() }.write(&mut body);
    body
}
