//! [`SentFrame`]: what a sent packet held.

use smallvec::SmallVec;

use crate::rudp::connection::datagram_size::SizeProbe;
use crate::rudp::connection::ecn::CeReport;
use crate::rudp::connection::stream::{FragmentId, MessageRef};

/// A frame of a sent packet for which the packet's fate matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SentFrame {
    /// Whole messages with consecutive numbers: the first message, and how many.
    Messages(MessageRef, u32),
    /// One fragment of a message.
    Fragment(MessageRef, FragmentId),
    /// An ack up to this number.
    Ack(u64),
    /// A count of packets that came marked CE.
    CeCount(CeReport),
    /// A size probe, which carries no data.
    SizeProbe(SizeProbe),
}

impl SentFrame {
    /// Returns the messages, each with its fragment if that is all that the frame holds of it.
    pub fn contents(&self) -> impl Iterator<Item = (MessageRef, Option<FragmentId>)> + use<> {
        let row = match self {
            Self::Messages(first, count) => Some((first.row(*count), None)),
            Self::Fragment(message, fragment) => Some((message.row(1), Some(*fragment))),
            Self::Ack(_) | Self::CeCount(_) | Self::SizeProbe(_) => None,
        };
        row.into_iter().flat_map(|(row, fragment)| row.map(move |message| (message, fragment)))
    }

    /// Returns the whole messages.
    pub fn messages(&self) -> impl Iterator<Item = MessageRef> + use<> {
        self.contents().filter_map(|(message, fragment)| fragment.is_none().then_some(message))
    }

    /// Absorbs `next` if it continues this run of messages, and returns whether it does.
    pub fn join(&mut self, next: &Self) -> bool {
        let (Self::Messages(first, count), Self::Messages(next, more)) = (self, next) else { return false };
        let goes_on = MessageRef { number: first.number + u64::from(*count), ..*first } == *next;
        *count += if goes_on { *more } else { 0 };
        goes_on
    }
}

/// The frames of one packet.
pub type SentFrames = SmallVec<[SentFrame; 2]>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;
    use crate::rudp::connection::stream::Space;

    #[test]
    fn messages_with_numbers_in_a_row_are_one_frame() {
        let message = |stream, space, number| MessageRef { stream: StreamId(stream), space, number };
        let first = message(1, Space::Ordered, 7);
        let mut row = SentFrame::Messages(first, 1);
        assert!(row.join(&SentFrame::Messages(message(1, Space::Ordered, 8), 1)));
        assert!(row.join(&SentFrame::Messages(message(1, Space::Ordered, 9), 2)));
        let others = [
            (1, Space::Ordered, 10),
            (1, Space::Ordered, 12),
            (1, Space::Unordered, 11),
            (2, Space::Ordered, 11),
        ];
        for (stream, space, number) in others {
            assert!(!row.join(&SentFrame::Messages(message(stream, space, number), 1)), "{number}");
        }
        assert!(!row.join(&SentFrame::Ack(11)) && !SentFrame::Ack(7).join(&row));
        let numbers: Vec<_> = (7..=10).map(|number| message(1, Space::Ordered, number)).collect();
        assert_eq!(row.messages().collect::<Vec<_>>(), numbers);
        assert_eq!(SentFrame::Ack(7).messages().count(), 0);
    }
}
