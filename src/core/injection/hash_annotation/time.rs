//! Times in annotations: RFC 3339 as Go reads and writes it, in whole seconds.

use std::fmt::Write;

/// 0001-01-01T00:00:00Z, which Go writes as `null`.
pub(super) const ZERO: i64 = -62_135_596_800;
/// First second of year 0.
const FIRST: i64 = -62_167_219_200;
/// Last second of year 9999.
const LAST: i64 = 253_402_300_799;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days of 400 years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;

/// Seconds since 1970-01-01T00:00:00Z. A fraction is dropped; an hour of one digit, offsets up to `±24:60` and a comma before
/// the fraction are accepted. `None` for everything else, and for times that lie outside of the years 0 to 9999 in UTC.
///
/// Rule: I-ANN-1.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    let mut reader = Reader { rest: text.as_bytes() };
    let year = reader.digits(4)?;
    reader.expect(b'-')?;
    let month = reader.digits(2).filter(|month| (1..=12).contains(month))?;
    reader.expect(b'-')?;
    let day = reader.digits(2).filter(|day| (1..=days_in(year, month)).contains(day))?;
    reader.expect(b'T')?;
    let hour = reader.digits(2).or_else(|| reader.digits(1)).filter(|hour| *hour < 24)?;
    reader.expect(b':')?;
    let minute = reader.digits(2).filter(|minute| *minute < 60)?;
    reader.expect(b':')?;
    let second = reader.digits(2).filter(|second| *second < 60)?;
    reader.skip_fraction();
    let offset = reader.offset()?;
    if !reader.rest.is_empty() {
        return None;
    }
    let unix =
        days_since_epoch(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - offset;
    (FIRST..=LAST).contains(&unix).then_some(unix)
}

/// Appends the time of `unix` seconds since 1970-01-01T00:00:00Z as `2026-07-02T09:56:09Z`.
///
/// Rule: I-ANN-2.
pub fn format_rfc3339(unix: i64, out: &mut String) {
    let (year, month, day) = civil(unix.div_euclid(SECONDS_PER_DAY));
    let second = unix.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Writing to a String cannot fail.
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// A number of exactly `count` digits; takes nothing if there are fewer.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.rest.split_at_checked(count)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        self.rest = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// A point or comma belongs to a fraction only if a digit follows.
    fn skip_fraction(&mut self) {
        if let [b'.' | b',', digits @ ..] = self.rest {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count > 0 {
                self.rest = digits.get(count..).unwrap_or_default();
            }
        }
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.next()? {
            b'Z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.digits(2).filter(|hours| *hours <= 24)?;
        self.expect(b':')?;
        let minutes = self.digits(2).filter(|minutes| *minutes <= 60)?;
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before the first of a month in a year that starts in March; `month` counts from 0.
fn days_before(month: i64) -> i64 {
    (153 * month + 2) / 5
}

/// Years are counted from March, so that the leap day is the last one.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = days_before((month + 9) % 12) + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH
}

/// Year, month and day of a day since the epoch.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + EPOCH;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - days_before(month) + 1;
    let year = era * 400 + year_of_era + i64::from(month >= 10);
    (year, (month + 2) % 12 + 1, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(unix: i64) -> String {
        let mut out = String::new();
        format_rfc3339(unix, &mut out);
        out
    }

    #[test]
    fn i_ann_1_times_that_go_accepts() {
        for (text, utc) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("2026-07-02T09:56:09Z", "2026-07-02T09:56:09Z"),
            ("2020-01-02T03:04:05.678+02:00", "2020-01-02T01:04:05Z"),
            ("2020-01-02T03:04:05.123456789Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T03:04:05,5Z", "2020-01-02T03:04:05Z"),
            ("2020-01-02T3:04:05Z", "2020-01-02T03:04:05Z"),
            ("2020-12-31T23:30:00-01:30", "2021-01-01T01:00:00Z"),
            ("2020-01-02T03:04:05+24:60", "2020-01-01T02:04:05Z"),
            ("2024-02-29T12:00:00-00:00", "2024-02-29T12:00:00Z"),
            ("2000-02-29T00:00:00Z", "2000-02-29T00:00:00Z"),
            ("0000-02-29T00:00:00Z", "0000-02-29T00:00:00Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse_rfc3339(text).map(formatted).as_deref(), Some(utc), "{text}");
        }
        assert_eq!(parse_rfc3339("0001-01-01T00:00:00Z"), Some(ZERO));
        assert_eq!(parse_rfc3339("2020-01-02T03:04:05Z"), Some(1_577_934_245));
    }

    #[test]
    fn i_ann_1_times_that_go_refuses() {
        for text in [
            "",
            "yesterday",
            "2020-13-02T03:04:05Z",
            "2020-00-02T03:04:05Z",
            "2020-01-00T03:04:05Z",
            "2020-04-31T03:04:05Z",
            "2021-02-29T03:04:05Z",
            "1900-02-29T03:04:05Z",
            "2020-01-02T24:00:00Z",
            "2020-01-02T23:60:00Z",
            "2020-01-02T23:59:60Z",
            "2020-01-02T03:04:05+0200",
            "2020-01-02T03:04:05+02",
            "2020-01-02T03:04:05+25:00",
            "2020-01-02T03:04:05+02:61",
            "2020-01-02T03:04:05",
            "2020-01-02T03:04:05z",
            "2020-01-02t03:04:05Z",
            "2020-01-02 03:04:05Z",
            "2020-01-02T03:04:05.Z",
            "2020-01-02T03:4:05Z",
            "2020-1-02T03:04:05Z",
            "20200102T030405Z",
            "2020-01-02T03:04:05ZZ",
            "2020-01-02T::Z",
            "é020-01-02T03:04:05Z",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    /// 400 years, after which the calendar repeats itself.
    #[test]
    fn every_day_is_read_as_it_is_written() {
        let noon = SECONDS_PER_DAY / 2;
        let mut previous = String::new();
        for day in 0..DAYS_PER_ERA {
            let text = formatted(day * SECONDS_PER_DAY + noon);
            assert_eq!(parse_rfc3339(&text), Some(day * SECONDS_PER_DAY + noon), "{text}");
            assert!(text > previous, "{previous} {text}");
            previous = text;
        }
        assert_eq!(previous, "2369-12-31T12:00:00Z");
    }
}
