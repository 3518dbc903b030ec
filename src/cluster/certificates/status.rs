//! What readiness and people are told.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::clock::unix_now;

/// What a probe may ask for at any time.
#[derive(Debug, Default)]
pub struct Status(Mutex<Report>);

/// What the manager last knew.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// End of the leaf that is served, and of its CA; seconds since 1970.
    pub(super) served: Option<(i64, i64)>,
    /// Whether every bundle has held its CA.
    pub(super) trusted: bool,
    /// Stage of the rotation.
    pub(super) stage: &'static str,
    /// A line for each object that has a bundle, and for what goes wrong.
    pub(super) lines: Vec<String>,
}

impl Status {
    pub(super) fn set(&self, report: Report) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = report;
    }

    /// Whether a leaf is served that has not ended and that API servers trust, and what is behind it, in lines.
    #[must_use]
    pub fn look(&self) -> (bool, String) {
        let report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        let ready = match report.served {
            None => {
                text.push_str("no certificate yet");
                false
            }
            Some((leaf, ca)) => {
                let ended = leaf < unix_now();
                // Writing to a String does not fail.
                let _ = write!(
                    text,
                    "certificate {} {}, its CA ends {}, rotation {}",
                    if ended { "ended" } else { "ends" },
                    time(leaf),
                    time(ca),
                    report.stage
                );
                if !report.trusted {
                    text.push_str("; its CA is not in every caBundle yet");
                }
                !ended && report.trusted
            }
        };
        for line in &report.lines {
            let _ = write!(text, "\n{line}");
        }
        (ready, text)
    }
}

/// A time as people and logs have it.
pub(super) fn time(unix: i64) -> String {
    jiff::Timestamp::from_second(unix).map_or_else(|_| unix.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_valid_and_trusted() {
        let status = Status::default();
        assert_eq!(status.look(), (false, "no certificate yet".to_owned()));
        for (ends_in, trusted, ready, told) in [
            (60, true, true, "certificate ends "),
            (60, false, false, "; its CA is not in every caBundle yet"),
            (-60, true, false, "certificate ended "),
        ] {
            let served = Some((unix_now() + ends_in, 4_000_000_000));
            status.set(Report { served, trusted, stage: "settled", lines: vec!["a: b".to_owned()] });
            let (is_ready, text) = status.look();
            assert_eq!(is_ready, ready, "{text}");
            assert!(text.contains(told) && text.contains("2096-10-02T07:06:40Z"), "{text}");
            assert!(text.ends_with("\na: b") && text.contains("rotation settled"), "{text}");
        }
    }
}
