//! Quantities as written on the command line and in the configuration file: durations `250ms`, shares `5%`,
//! rates `30`, bit rates `10mbit`, sizes `64KiB`.
//!
//! Parsing is strict: a missing, unknown or repeated unit is an error that states what is allowed. A value
//! written with [`Written`] is read back unchanged.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::secure::ConnectGrant;

/// Why a text is not a quantity; names the text and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// The text does not begin with a decimal number.
    #[error("`{text}` does not begin with a number: {allowed}")]
    NoNumber {
        /// The text as written.
        text: String,
        /// What is allowed instead.
        allowed: &'static str,
    },
    /// The number has no unit, or an unknown one.
    #[error("`{text}` has {found}: {allowed}", found = unit_found(.unit))]
    WrongUnit {
        /// The text as written.
        text: String,
        /// The text after the number, which may be empty.
        unit: String,
        /// What is allowed instead.
        allowed: &'static str,
    },
    /// The value is finer than the smallest step, or out of range.
    #[error("`{text}` is out of range: {allowed}")]
    OutOfRange {
        /// The text as written.
        text: String,
        /// What is allowed instead.
        allowed: &'static str,
    },
}

/// Parses the address at which clients reach a server.
///
/// # Errors
/// A text that states what is allowed.
pub fn address(text: &str) -> Result<String, String> {
    let is_address = ConnectGrant::is_address(text);
    is_address.then(|| text.to_owned()).ok_or_else(|| "allowed is HOST:PORT, as in 127.0.0.1:7777".to_owned())
}

/// Parses an address to listen on.
///
/// # Errors
/// A text that states what is allowed.
pub fn own_address(text: &str) -> Result<SocketAddr, String> {
    let allowed =
        "allowed is ADDRESS:PORT with an IP address, and a port from 0 to 65535, as in 0.0.0.0:7777";
    text.parse().map_err(|_| allowed.to_owned())
}

/// A part of a whole, 0 to 1; written as a percentage.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Share(f64);

impl Share {
    /// Returns the share as a number from 0 to 1.
    pub const fn as_fraction(self) -> f64 {
        self.0
    }

    /// Returns true for `0%`.
    pub fn is_none(self) -> bool {
        self.0 == 0.0
    }
}

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u64);

const DURATIONS: &str = "a duration is a number and one of us, ms, s, min, h, as in 250ms or 1.5s";
const SHARES: &str = "a share is a percentage from 0% to 100%, as in 5% or 0.5%";
const RATES: &str = "a rate is a number of times a second, above 0 and up to 10000, as in 30 or 0.5";
const BIT_RATES: &str = "a bit rate is a number and one of bit, kbit, mbit, gbit, as in 10mbit";
const SIZES: &str = "a size is a whole number of bytes, or a number and one of B, KiB, MiB, GiB, as in 64KiB";

/// Reads a duration such as `250ms`.
///
/// # Errors
/// [`UnitError`] if the number or a known unit is missing, or for more than 2^64 microseconds.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let micros = scaled(text, DURATIONS, |unit| match unit {
        "us" => Some(1),
        "ms" => Some(1_000),
        "s" => Some(1_000_000),
        "min" => Some(60_000_000),
        "h" => Some(3_600_000_000),
        _ => None,
    })?;
    Ok(Duration::from_micros(micros))
}

/// Reads a share such as `5%`.
///
/// # Errors
/// [`UnitError`] if the percent sign is missing, or the value is outside 0 to 100 %.
pub fn share(text: &str) -> Result<Share, UnitError> {
    // In millionths of a percent, which is exact for any practical share.
    let parts = scaled(text, SHARES, |unit| (unit == "%").then_some(1_000_000))?;
    match u32::try_from(parts) {
        Ok(parts @ 0..=100_000_000) => Ok(Share(f64::from(parts) / 100_000_000.0)),
        _ => Err(UnitError::OutOfRange { text: text.to_owned(), allowed: SHARES }),
    }
}

/// Reads a rate such as `30`, in times per second.
///
/// # Errors
/// [`UnitError`] if it is not a number, or not above 0 and up to 10,000.
pub fn hertz(text: &str) -> Result<f64, UnitError> {
    let parts = scaled(text, RATES, |unit| unit.is_empty().then_some(1_000))?;
    match u32::try_from(parts) {
        Ok(parts @ 1..=10_000_000) => Ok(f64::from(parts) / 1_000.0),
        _ => Err(UnitError::OutOfRange { text: text.to_owned(), allowed: RATES }),
    }
}

/// Reads a protocol id, decimal or as in the code of a game: `0x6d79_6761_6d65`.
///
/// # Errors
/// A text that names what is allowed.
pub fn protocol_id(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let (digits, radix) = digits.strip_prefix("0x").map_or((&*digits, 10), |hex| (hex, 16));
    let is_signed = digits.starts_with(['+', '-']);
    let read = u64::from_str_radix(digits, radix).ok().filter(|_| !is_signed);
    read.ok_or_else(|| format!("`{text}` is no number below 2^64, such as 1382116460 or 0x5261_6c6c"))
}

/// Reads a bit rate such as `10mbit`.
///
/// # Errors
/// [`UnitError`] if the number or a known unit is missing, or for zero bits per second.
pub fn bit_rate(text: &str) -> Result<BitRate, UnitError> {
    let bits = scaled(text, BIT_RATES, |unit| match unit {
        "bit" => Some(1),
        "kbit" => Some(1_000),
        "mbit" => Some(1_000_000),
        "gbit" => Some(1_000_000_000),
        _ => None,
    })?;
    match bits {
        0 => Err(UnitError::OutOfRange { text: text.to_owned(), allowed: BIT_RATES }),
        bits => Ok(BitRate(bits)),
    }
}

/// Reads a size such as `64` or `64KiB`, in bytes.
///
/// # Errors
/// [`UnitError`] if the number or a known unit is missing.
pub fn size(text: &str) -> Result<usize, UnitError> {
    let bytes = scaled(text, SIZES, |unit| match unit {
        "" | "B" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    })?;
    usize::try_from(bytes).map_err(|_| UnitError::OutOfRange { text: text.to_owned(), allowed: SIZES })
}

/// Reads `NUMBER[.DECIMALS]UNIT` as a whole number of the smallest step; `steps` returns the number of steps
/// in a unit.
fn scaled(text: &str, allowed: &'static str, steps: impl Fn(&str) -> Option<u64>) -> Result<u64, UnitError> {
    let no_number = || UnitError::NoNumber { text: text.to_owned(), allowed };
    let out_of_range = || UnitError::OutOfRange { text: text.to_owned(), allowed };
    let (whole, rest) = digits(text);
    if whole.is_empty() {
        return Err(no_number());
    }
    let (decimals, unit) = match rest.strip_prefix('.') {
        Some(rest) => match digits(rest) {
            ("", _) => return Err(no_number()),
            split => split,
        },
        None => ("", rest),
    };
    let steps = steps(unit).ok_or_else(|| UnitError::WrongUnit {
        text: text.to_owned(),
        unit: unit.to_owned(),
        allowed,
    })?;
    let whole: u64 = whole.parse().map_err(|_| out_of_range())?;
    let decimals = decimals.trim_end_matches('0');
    let parts = u32::try_from(decimals.len()).ok().and_then(|digits| 10_u128.checked_pow(digits));
    let parts = parts.ok_or_else(out_of_range)?;
    let decimals: u128 =
        if decimals.is_empty() { 0 } else { decimals.parse().map_err(|_| out_of_range())? };
    let rest = decimals.checked_mul(steps.into()).ok_or_else(out_of_range)?;
    // A part below the smallest step would be lost silently.
    if rest % parts != 0 {
        return Err(out_of_range());
    }
    let total = u128::from(whole) * u128::from(steps) + rest / parts;
    u64::try_from(total).map_err(|_| out_of_range())
}

/// Splits off the leading ASCII digits.
fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

fn unit_found(unit: &str) -> String {
    if unit.is_empty() { "no unit".to_owned() } else { format!("the unknown unit `{unit}`") }
}

/// Writes a duration in the largest unit that keeps it whole.
pub struct Written(pub Duration);

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("h", 3_600_000_000), ("min", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];
        let (count, unit) = largest_whole(self.0.as_micros(), &units, "s");
        write!(f, "{count}{unit}")
    }
}

/// Returns `steps` as a whole count of the largest of `units` (in descending order, each with its number of
/// steps) that divides it; zero is counted in the unit `zero`.
fn largest_whole<'a>(steps: u128, units: &[(&'a str, u128)], zero: &'a str) -> (u128, &'a str) {
    units
        .iter()
        .find(|(_, size)| steps != 0 && steps.is_multiple_of(*size))
        .map_or((steps, zero), |(unit, size)| (steps / size, *unit))
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];
        let (count, unit) = largest_whole(self.0.into(), &units, "bit");
        write!(f, "{count}{unit}")
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to the step in which shares are read, so that 0.07 is written `7%`.
        write!(f, "{}%", (self.0 * 100_000_000.0).round() / 1_000_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_listened_on_is_an_ip_address_with_a_port() {
        assert_eq!(own_address("[::1]:0"), Ok(([0, 0, 0, 0, 0, 0, 0, 1], 0).into()));
        for text in ["127.0.0.1", "localhost:7777", "127.0.0.1:65536", ""] {
            assert!(own_address(text).is_err_and(|error| error.contains("ADDRESS:PORT")), "{text}");
        }
    }

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("7us"), Ok(Duration::from_micros(7)));
        assert_eq!(duration("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("0ms"), Ok(Duration::ZERO));
        for text in ["20", "20 s", "20sec", "s", "", "-1s", "1e3s", "1.s", "1s1s", ".5s", "0.5us", "1.5h1"] {
            assert!(duration(text).is_err(), "{text} was taken");
        }
        assert!(matches!(duration("99999999999999999999s"), Err(UnitError::OutOfRange { .. })));
        assert!(matches!(duration("9999999999999999999s"), Err(UnitError::OutOfRange { .. })));
    }

    #[test]
    fn an_error_names_the_text_and_what_is_allowed() {
        let error = duration("20").unwrap_err().to_string();
        assert_eq!(error, format!("`20` has no unit: {DURATIONS}"));
        let error = duration("20m").unwrap_err().to_string();
        assert_eq!(error, format!("`20m` has the unknown unit `m`: {DURATIONS}"));
        assert_eq!(share("120%").unwrap_err().to_string(), format!("`120%` is out of range: {SHARES}"));
    }

    #[test]
    fn shares_are_percentages_up_to_100() {
        assert_eq!(share("5%").unwrap().as_fraction(), 0.05);
        assert_eq!(share("100%").unwrap().as_fraction(), 1.0);
        assert!(share("0%").unwrap().is_none());
        assert_eq!(share("0.5%").unwrap().to_string(), "0.5%");
        assert_eq!(share("7%").unwrap().to_string(), "7%");
        for text in ["0.05", "101%", "100.000001%", "%", "5 %"] {
            assert!(share(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn rates_have_no_unit_and_are_above_0() {
        assert_eq!(hertz("30"), Ok(30.0));
        assert_eq!(hertz("0.5"), Ok(0.5));
        for text in ["0", "30hz", "10001", "-3", "0.0001"] {
            assert!(hertz(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn a_protocol_id_is_decimal_or_hexadecimal() {
        assert_eq!(protocol_id("1382116460"), Ok(1_382_116_460));
        assert_eq!(protocol_id("0x5261_6c6c"), Ok(1_382_116_460));
        assert_eq!(protocol_id("0xffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "0x", "5261_6c6c", "0x1_0000_0000_0000_0000", "-1", "+1", "0x+1"] {
            assert!(protocol_id(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn bit_rates_and_sizes() {
        assert_eq!(bit_rate("10mbit"), Ok(BitRate(10_000_000)));
        assert_eq!(bit_rate("1.5kbit"), Ok(BitRate(1_500)));
        assert_eq!(BitRate(10_000_000).to_string(), "10mbit");
        assert!(bit_rate("10").is_err() && bit_rate("0mbit").is_err() && bit_rate("10mb").is_err());
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(
            [size("1.5KiB"), size("0.25MiB"), size("2.50B")].map(|it| it.ok()),
            [Some(1_536), Some(262_144), None]
        );
        assert!(size("64kb").is_err() && size("").is_err() && size("1.5").is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in 0_u64..=u64::MAX / 2) {
            let time = Duration::from_micros(micros);
            prop_assert_eq!(duration(&Written(time).to_string()), Ok(time));
            let rate = BitRate(micros.max(1));
            prop_assert_eq!(bit_rate(&rate.to_string()), Ok(rate));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (duration(&text), share(&text), hertz(&text), bit_rate(&text), size(&text));
        }
    }
}
