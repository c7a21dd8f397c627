//! [`Rooms`]: the message handling common to all peers' servers, without the transport.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::message::{Kind, Stamp};

/// The group of each client. Clients are numbered by the server that owns this.
#[derive(Default)]
pub struct Rooms {
    members: HashMap<u32, Vec<usize>>,
    group_of: Vec<Option<u32>>,
    alone: [usize; 1],
}

/// Maximum number of members in a group.
const MAX_MEMBERS: usize = 4_096;

impl Rooms {
    /// Takes a message of client `from`, and returns its recipients: the client alone when it joins, which it
    /// may do again, otherwise its whole group including itself.
    ///
    /// # Errors
    /// [`Error::Bound`] for a message that no client sends, or a sender in no group.
    pub fn recipients(&mut self, from: usize, message: &[u8]) -> Result<&[usize]> {
        match Stamp::read(message)?.kind {
            Kind::Join(group) => {
                self.join(from, group)?;
                self.alone = [from];
                Ok(&self.alone)
            }
            Kind::Early | Kind::Counted => {
                let group = self.group_of.get(from).copied().flatten();
                let members = group.and_then(|group| self.members.get(&group));
                members.map(Vec::as_slice).ok_or_else(|| Error::bound("a sender is in no group"))
            }
        }
    }

    fn join(&mut self, client: usize, group: u32) -> Result<()> {
        if self.group_of.len() <= client {
            self.group_of.resize(client + 1, None);
        }
        if self.group_of[client].is_none() {
            let members = self.members.entry(group).or_default();
            if members.len() >= MAX_MEMBERS {
                return Err(Error::bound("a group is full"));
            }
            members.push(client);
            self.group_of[client] = Some(group);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: Kind) -> [u8; 64] {
        let mut body = [0; 64];
        Stamp { kind, sender: 0, sent_nanos: 0 }.write(&mut body);
        body
    }

    #[test]
    fn a_message_goes_to_the_group_once_each_has_joined() {
        let mut rooms = Rooms::default();
        assert!(rooms.recipients(0, &message(Kind::Counted)).is_err());
        for (client, group) in [(0, 5), (1, 6), (2, 5), (0, 5)] {
            assert_eq!(rooms.recipients(client, &message(Kind::Join(group))).ok(), Some(&[client][..]));
        }
        assert_eq!(rooms.recipients(2, &message(Kind::Counted)).ok(), Some(&[0, 2][..]));
        assert_eq!(rooms.recipients(1, &message(Kind::Early)).ok(), Some(&[1][..]));
    }
}
