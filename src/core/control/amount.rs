//! A number of Pods, absolute or as a percentage: `partition` and `maxUnavailable`.

use serde_json::Value;

/// A number or a percentage as it stands in the set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// Nothing is said.
    Absent,
    /// A number.
    Number(i64),
    /// A percentage.
    Percent {
        /// The number before the sign.
        percent: f64,
        /// It has no fraction.
        is_whole: bool,
        /// The text is `100%`.
        is_all: bool,
    },
    /// Neither.
    Invalid,
}

impl Amount {
    /// Reads a number or a text.
    #[must_use]
    pub fn new(value: &Value) -> Self {
        match value {
            Value::Null => Self::Absent,
            Value::Number(number) => number.as_i64().map_or(Self::Invalid, Self::Number),
            Value::String(text) => Self::percent(text),
            _ => Self::Invalid,
        }
    }

    fn percent(text: &str) -> Self {
        let Some(digits) = text.strip_suffix('%') else { return Self::Invalid };
        let is_whole = digits.parse::<i64>().is_ok();
        match digits.parse::<f64>() {
            Ok(percent) if percent.is_finite() => Self::Percent { percent, is_whole, is_all: text == "100%" },
            _ => Self::Invalid,
        }
    }

    /// How many of `count` Pods stay on the old version. What cannot be read is 0.
    ///
    /// Rule: C-UPD-6.
    #[must_use]
    pub fn partition(self, count: usize) -> usize {
        let value = match self {
            Self::Absent | Self::Invalid => 0,
            Self::Number(number) => clamped(number, count),
            Self::Percent { percent, is_all, .. } => {
                let value = share(percent, count);
                // A part of them is never all of them.
                if !is_all && count > 1 && value == count { count - 1 } else { value }
            }
        };
        value.min(count)
    }

    /// How many of `count` Pods may be down at once. Absent is 1, what cannot be read is 0.
    ///
    /// Rules: C-UPD-7, C-BUG-20.
    #[must_use]
    pub fn max_unavailable(self, count: usize) -> usize {
        match self {
            Self::Absent => 1,
            Self::Number(number) => usize::try_from(number).unwrap_or_default(),
            Self::Percent { percent, is_whole: true, .. } => share(percent, count),
            Self::Percent { .. } | Self::Invalid => 0,
        }
    }
}

fn clamped(number: i64, count: usize) -> usize {
    usize::try_from(number).map_or(0, |number| number.min(count))
}

/// A share, rounded up; a percentage above 100 is more than all.
fn share(percent: f64, count: usize) -> usize {
    #[allow(clippy::cast_precision_loss, reason = "counts of Pods are far below 2^52")]
    let value = (percent * count as f64 / 100.0).ceil();
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    let value = value as usize;
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Rows C-T-PART-1 to 13. Rule: C-UPD-6.
    #[test]
    fn partitions() {
        let cases = [
            (0, json!("99%"), 0),
            (10, json!(null), 0),
            (9, json!("99%"), 8),
            (10, json!("90%"), 9),
            (10, json!("1%"), 1),
            (99, json!("99%"), 98),
            (99, json!("100%"), 99),
            (99, json!("0%"), 0),
            (1, json!("100%"), 1),
            (1, json!(null), 0),
            (1, json!("1%"), 1),
            (10, json!(5), 5),
            (10, json!(1), 1),
            (10, json!(0), 0),
            (10, json!(10), 10),
            (9, json!("99"), 0),
            (9, json!("0.01%"), 1),
            (999, json!("99.99%"), 998),
            (9, json!(-1), 0),
            (9, json!(50), 9),
            (9, json!("-5%"), 0),
        ];
        for (count, value, expected) in cases {
            assert_eq!(Amount::new(&value).partition(count), expected, "{value} of {count}");
        }
    }

    /// Rules: C-UPD-7, C-UPD-10, C-BUG-20.
    #[test]
    fn max_unavailable() {
        let cases = [
            (json!(null), 1),
            (json!(0), 0),
            (json!(12), 12),
            (json!(-1), 0),
            (json!("5%"), 1),
            (json!("50%"), 3),
            (json!("0%"), 0),
            (json!("0.5%"), 0),
            (json!("x"), 0),
        ];
        for (value, expected) in cases {
            assert_eq!(Amount::new(&value).max_unavailable(5), expected, "{value}");
        }
    }
}
