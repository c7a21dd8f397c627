//! [`Starvation`]: who waits for room at the peer while others go on taking it.

use crate::rudp::connection::stream::MessageRef;

/// A message that needs much room would never leave if smaller ones went on taking what becomes free. Once
/// those have taken as much as the peer's whole buffer since, it claims all room. Spec: REL-16.
#[derive(Debug, Default)]
pub(super) struct Starvation(Option<Starving>);

/// The oldest message whose turn it was, but for which the peer had no room.
#[derive(Debug)]
struct Starving {
    message: MessageRef,
    /// Number of messages that were enqueued before it.
    came: u64,
    /// Bytes of the peer's buffer that others have taken since.
    taken: usize,
}

impl Starvation {
    /// Returns the message that starves.
    pub(super) fn message(&self) -> Option<MessageRef> {
        self.0.as_ref().map(|starving| starving.message)
    }

    /// Returns the starving message if it claims all room in the peer's buffer of `window` bytes.
    pub(super) fn claimant(&self, window: usize) -> Option<MessageRef> {
        self.0.as_ref().filter(|starving| starving.taken >= window).map(|starving| starving.message)
    }

    /// Notes that there is no room for `message`, whose turn it is; `came` messages were enqueued before it.
    pub(super) fn on_no_room(&mut self, message: MessageRef, came: u64) {
        if self.0.as_ref().is_none_or(|starving| came < starving.came) {
            self.0 = Some(Starving { message, came, taken: 0 });
        }
    }

    /// Notes that `message` leaves, for which `taken` bytes of the peer's buffer are taken.
    pub(super) fn on_sent(&mut self, message: MessageRef, taken: usize) {
        match &mut self.0 {
            Some(starving) if starving.message == message => self.end(),
            Some(starving) => starving.taken += taken,
            None => {}
        }
    }

    /// Notes that nothing starves, as far as is known.
    pub(super) fn end(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;
    use crate::rudp::connection::stream::Space;

    const WINDOW: usize = 1_000;

    fn message(number: u64) -> MessageRef {
        MessageRef { stream: StreamId(0), space: Space::Unordered, number }
    }

    // spec-test: REL-16
    #[test]
    fn a_message_claims_all_room_once_others_have_taken_a_whole_buffer() {
        let mut starvation = Starvation::default();
        starvation.on_sent(message(0), WINDOW);
        starvation.on_no_room(message(2), 2);
        starvation.on_sent(message(3), WINDOW - 1);
        assert_eq!(starvation.claimant(WINDOW), None, "what was taken before does not count");
        starvation.on_sent(message(4), 1);
        assert_eq!(starvation.claimant(WINDOW), Some(message(2)));
        starvation.on_no_room(message(5), 5);
        assert_eq!(starvation.claimant(WINDOW), Some(message(2)), "a younger one waits");
        starvation.on_sent(message(2), 900);
        assert_eq!(starvation.message(), None);
    }

    // spec-test: REL-16
    #[test]
    fn an_older_message_starves_in_place_of_a_younger_one_and_begins_anew() {
        let mut starvation = Starvation::default();
        starvation.on_no_room(message(2), 2);
        starvation.on_sent(message(3), WINDOW);
        starvation.on_no_room(message(1), 1);
        assert_eq!((starvation.message(), starvation.claimant(WINDOW)), (Some(message(1)), None));
        starvation.on_sent(message(3), WINDOW);
        assert_eq!(starvation.claimant(WINDOW), Some(message(1)));
    }
}
