//! The names of the delivery modes on the command line and in reports.

use crate::wire::Delivery;

/// The modes by name; keyed modes have the key 0.
const NAMES: [(&str, Delivery); 5] = [
    ("ordered", Delivery::ReliableOrdered),
    ("reliable", Delivery::ReliableUnordered),
    ("sequenced", Delivery::Sequenced { key: 0 }),
    ("latest", Delivery::ReliableLatest { key: 0 }),
    ("unreliable", Delivery::Unreliable),
];

/// Returns the name of a mode.
pub fn name(delivery: Delivery) -> &'static str {
    NAMES.iter().find(|(_, known)| known.mode() == delivery.mode()).map_or("unknown", |(name, _)| name)
}

/// Parses the name of a mode.
///
/// # Errors
/// A text that lists the modes.
pub fn parse(text: &str) -> Result<Delivery, String> {
    let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, delivery)| *delivery);
    found.ok_or_else(|| format!("a delivery is one of {}", NAMES.map(|(name, _)| name).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_has_a_name_that_is_read_back() {
        for mode in 0..=4 {
            let (text, delivery) = NAMES.iter().find(|(_, delivery)| delivery.mode() == mode).unwrap();
            assert_eq!(parse(text), Ok(*delivery));
            assert_eq!(name(*delivery), *text);
        }
        assert!(parse("psychic").unwrap_err().contains("ordered, reliable"));
    }
}
