//! [`LossShare`]: the share of this end's packets that is lost.

/// A moving average over the fates of packets.
#[derive(Clone, Copy, Debug)]
pub struct LossShare {
    share: f32,
    /// Weight of the newest packet.
    weight: f32,
}

impl LossShare {
    /// Starts without losses; the average covers about the last `packets` packets.
    pub fn over(packets: u16) -> Self {
        Self { share: 0.0, weight: 1.0 / f32::from(packets) }
    }

    /// Assumes `share` until packets show another.
    pub fn starting_at(self, share: f32) -> Self {
        Self { share, ..self }
    }

    /// Counts a packet that arrived.
    pub fn on_acked(&mut self) {
        self.share -= self.share * self.weight;
    }

    /// Counts a packet that was lost.
    pub fn on_lost(&mut self) {
        self.share += (1.0 - self.share) * self.weight;
    }

    /// Takes back the loss of a packet that arrived after all.
    pub fn on_spurious(&mut self) {
        self.share = (self.share - self.weight).max(0.0);
    }

    /// Returns the share lost, 0 to 1.
    pub fn share(&self) -> f32 {
        self.share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_follows_what_is_lost_and_fades_when_nothing_is() {
        let mut loss = LossShare::over(256);
        for packet in 0..4_000 {
            if packet % 20 == 0 { loss.on_lost() } else { loss.on_acked() }
        }
        assert!((0.03..0.08).contains(&loss.share()), "{}", loss.share());
        (0..3_000).for_each(|_| loss.on_acked());
        assert!(loss.share() < 0.000_1, "{}", loss.share());
    }

    #[test]
    fn a_loss_that_was_none_is_taken_back() {
        let mut loss = LossShare::over(256);
        loss.on_lost();
        loss.on_spurious();
        assert!(loss.share().abs() < 1e-6);
    }
}
