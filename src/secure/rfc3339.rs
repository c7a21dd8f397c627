//! RFC 3339 times, as used in tokens and grants.
//!
//! Times are written in UTC with `Z`, in whole seconds or, if necessary, with milliseconds. Any offset and up
//! to 9 digits of fraction are read, since a backend's library chooses the form; leap seconds are refused.

use crate::base::UnixTime;

/// Reads a time; `None` if the text is not a time or lies before 1970.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let mut text = Text(text.as_bytes());
    let (year, month, day) = (text.digits(4, b'-')?, text.digits(2, b'-')?, text.digits(2, b'T')?);
    let (hour, minute) = (text.digits(2, b':')?, text.digits(2, b':')?);
    let second = text.number(2)?;
    let legal = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !legal {
        return None;
    }
    let millis = text.fraction()?;
    let offset_minutes = text.offset()?;
    let days = days_from_epoch(year, month, day);
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    u64::try_from(seconds * 1_000 + millis).ok().map(UnixTime::from_millis)
}

/// Writes a time; one after the year 9999 is written as the end of that year.
pub(super) fn format(time: UnixTime) -> String {
    const LAST: u64 = 253_402_300_799_999;
    let millis = i64::try_from(time.as_millis().min(LAST)).unwrap_or(0);
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = date_of(days);
    let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (second, milli) = (in_day / 1_000 % 60, in_day % 1_000);
    let fraction = if milli == 0 { String::new() } else { format!(".{milli:03}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// Text that is read from the front.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    /// Reads a number of exactly `count` digits and the byte `then` after it.
    fn digits(&mut self, count: usize, then: u8) -> Option<i64> {
        let number = self.number(count)?;
        self.byte()?.eq_ignore_ascii_case(&then).then_some(number)
    }

    fn number(&mut self, count: usize) -> Option<i64> {
        (0..count).try_fold(0, |number, _| {
            let digit = self.byte()?;
            digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
        })
    }

    /// Reads an optional fraction of 1 to 9 digits as milliseconds; finer digits are cut off.
    fn fraction(&mut self) -> Option<i64> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        self.byte();
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return None;
        }
        let nanos = (0..9).try_fold(0, |nanos, at| {
            let digit = if at < digits { self.number(1)? } else { 0 };
            Some(nanos * 10 + digit)
        })?;
        Some(nanos / 1_000_000)
    }

    /// Reads the minutes that local time is ahead of UTC, and the end of the text.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.byte()? {
            b'Z' | b'z' => return self.0.is_empty().then_some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = (self.digits(2, b':')?, self.number(2)?);
        (hours < 24 && minutes < 60 && self.0.is_empty()).then_some(sign * (hours * 60 + minutes))
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Years begin in March here, so that the leap day is the last day of a year.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - EPOCH_DAYS
}

/// Days from the first of March of the year 0 to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Returns the date `days` after 1970-01-01.
fn date_of(days: i64) -> (i64, i64, i64) {
    let latest = 1970 + days / 365;
    let year = (1970..=latest).rev().find(|year| days_from_epoch(*year, 1, 1) <= days).unwrap_or(1970);
    let month = (1..=12).rev().find(|month| days_from_epoch(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_from_epoch(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Instants from the examples of RFC 3339 §5.8 and from `date -u -d @N`.
    #[test]
    fn known_times() {
        let known = [
            ("1970-01-01T00:00:00Z", 0_i64),
            ("1985-04-12T23:20:50.52Z", 482_196_050_520_i64),
            ("1996-12-19T16:39:57-08:00", 851_042_397_000),
            ("1937-01-01T12:00:27.87+00:20", -1),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("2022-01-01T00:00:00+00:00", 1_640_995_200_000),
            ("2100-03-01t00:00:00z", 4_107_542_400_000),
            ("2026-11-23T10:22:14.123456789Z", 1_795_429_334_123),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ];
        for (text, millis) in known {
            let expected = u64::try_from(millis).ok().map(UnixTime::from_millis);
            assert_eq!(parse(text), expected, "{text}");
        }
        assert_eq!(format(UnixTime::from_millis(951_825_600_000)), "2000-02-29T12:00:00Z");
        assert_eq!(format(UnixTime::from_millis(482_196_050_520)), "1985-04-12T23:20:50.520Z");
        assert_eq!(format(UnixTime::from_millis(u64::MAX)), "9999-12-31T23:59:59.999Z");
    }

    // spec-test: TOK-2
    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2022-01-01",
            "2022-01-01T00:00:00",
            "2022-13-01T00:00:00Z",
            "2022-00-01T00:00:00Z",
            "2022-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2022-01-00T00:00:00Z",
            "2022-01-01T24:00:00Z",
            "2022-01-01T00:60:00Z",
            "2022-01-01T00:00:60Z",
            "2022-01-01T00:00:00.Z",
            "2022-01-01T00:00:00.1234567890Z",
            "2022-01-01T00:00:00ZZ",
            "2022-01-01T00:00:00+24:00",
            "2022-01-01T00:00:00 01:00",
            "2022-01-01T00:00:00+0100",
            "2022-1-01T00:00:00Z",
            "+022-01-01T00:00:00Z",
            "2022-01-01 00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_time_is_read_as_it_was_written(millis in 0u64..253_402_300_800_000) {
            let time = UnixTime::from_millis(millis);
            prop_assert_eq!(parse(&format(time)), Some(time));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9TZ:.+-]{0,30}") {
            let _ = parse(&text);
        }
    }
}
