//! [`LossRate`]: the share of packets lost, slow enough that chance is not taken for congestion.

/// A moving share over about 512 packets, in millionths.
#[derive(Debug, Default)]
pub struct LossRate {
    millionths: u32,
}

/// Weight of one packet.
const PACKETS: u32 = 512;

impl LossRate {
    /// A packet arrived.
    pub fn on_acked(&mut self) {
        self.millionths -= self.millionths / PACKETS;
    }

    /// A packet was lost.
    pub fn on_lost(&mut self) {
        self.millionths += (1_000_000 - self.millionths) / PACKETS;
    }

    /// The share, in millionths.
    pub fn millionths(&self) -> u32 {
        self.millionths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_settles_at_the_share() {
        let mut rate = LossRate::default();
        for packet in 0..5_000 {
            if packet % 100 == 0 { rate.on_lost() } else { rate.on_acked() }
        }
        assert!((8_000..12_000).contains(&rate.millionths()), "1 %: {}", rate.millionths());
    }
}
