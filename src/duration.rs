//! Durations as Go writes them (`10s`, `1m30s`, `500ms`): the API server's `?timeout=` and our flags.

use std::time::Duration;

/// Nanoseconds per unit, longest suffix first so that `ms` is not read as `m`.
const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Longest duration that is taken: more is a typing mistake, and sums of it could overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Reads a duration of one or more numbers, each with a unit (`ns`, `us`, `ms`, `s`, `m`, `h`), or a bare `0`.
///
/// # Errors
///
/// A text for people that says what was found and what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write for example 10s, 500ms or 1m30s, at most 24h");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ns = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let (unit, factor) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit)).ok_or_else(wrong)?;
        total_ns += number * factor;
        rest = tail.get(unit.len()..).unwrap_or_default();
    }
    let duration = Duration::try_from_secs_f64(total_ns / 1e9).map_err(|_| wrong())?;
    if text.is_empty() || duration > LONGEST { Err(wrong()) } else { Ok(duration) }
}

/// An age as kubectl tells it: the largest whole unit, `45s`, `3m`, `5h`, `12d`.
#[must_use]
pub fn age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ ..120 => format!("{seconds}s"),
        seconds @ ..7_200 => format!("{}m", seconds / 60),
        seconds @ ..172_800 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, ms) in
            [("10s", 10_000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1_500), ("2h", 7_200_000), ("0", 0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(parse("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse("250µs"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn refuses_the_rest_and_says_what_would_be_right() {
        for text in ["", "10", "s", "-1s", "1 s", "10x", "1e3s", "1.2.3s", "NaNs", "25h", "99999999999h"] {
            assert!(parse(text).is_err_and(|message| message.contains("10s")), "{text}");
        }
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in
            [(0, "0s"), (119, "119s"), (120, "2m"), (7_199, "119m"), (7_200, "2h"), (172_800, "2d")]
        {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
