//! The text of a quantity taken apart, as Kubernetes' parser does it.

use super::{BINARY_SUFFIXES, DECIMAL_SUFFIXES, Format, MANTISSA_LIMIT, NANO, Quantity, QuantityError};

/// Limit of exponents and lengths while parsing, so that sums of a few of them fit in an `i32`.
const LENGTH_LIMIT: i32 = 1 << 28;
/// Binary quantities are capped at the largest `i64`.
const BINARY_MAX: i128 = i64::MAX as i128;

/// The unit of a quantity.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// A power of ten, and how it was written.
    Ten(i32, Format),
    /// A power of two.
    Two(u32),
}

impl Unit {
    fn parse(suffix: &str) -> Result<Self, QuantityError> {
        if let Some((_, power)) = DECIMAL_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
            return Ok(Self::Ten(*power, Format::DecimalSi));
        }
        if let Some((_, power)) = BINARY_SUFFIXES.iter().find(|(name, _)| *name == suffix) {
            return Ok(Self::Two(*power));
        }
        let exponent = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
        let power: i64 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
        // Far outside of what is kept either way; the limit keeps sums of scales from overflowing.
        let limit = i64::from(LENGTH_LIMIT);
        let power = i32::try_from(power.clamp(-limit, limit)).unwrap_or_default();
        Ok(Self::Ten(power, Format::DecimalExponent))
    }
}

/// A text taken apart: sign, digits before the point without leading zeros, digits behind it, unit.
pub(super) struct Spelling<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    unit: Unit,
}

impl<'a> Spelling<'a> {
    pub(super) fn split(text: &'a str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let negative = text.starts_with('-');
        let rest = text.strip_prefix(['-', '+']).unwrap_or(text);
        let (whole, rest) = split_digits(rest.trim_start_matches('0'));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        let exponent = suffix.trim_start_matches(|c: char| "eEinumkKMGTP".contains(c));
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if !split_digits(exponent).1.is_empty() {
            return Err(QuantityError::Format);
        }
        Ok(Self { negative, whole, fraction, unit: Unit::parse(suffix)? })
    }

    pub(super) fn quantity(&self) -> Quantity {
        let value = match self.unit {
            Unit::Ten(power, format) => self.decimal(power, format),
            Unit::Two(power) => self.binary(power),
        };
        if self.negative { -value } else { value }
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.bytes().chain(self.fraction.bytes()).map(|byte| byte - b'0')
    }

    /// The number without its sign for a unit that is a power of ten.
    fn decimal(&self, power: i32, format: Format) -> Quantity {
        let fraction = length(self.fraction);
        // Digits finer than 10⁻⁹ are dropped, and so are those behind the 38th.
        let mut left = length(self.whole) + power - NANO;
        let mut mantissa: i128 = 0;
        let mut dropped = 0;
        let mut inexact = false;
        for digit in self.digits() {
            if left > 0 && mantissa < MANTISSA_LIMIT / 10 {
                mantissa = mantissa * 10 + i128::from(digit);
            } else {
                dropped += 1;
                inexact |= digit != 0;
            }
            left -= 1;
        }
        if inexact {
            mantissa += 1;
        }
        let scale = power - fraction + dropped;
        Quantity::normalised(mantissa, scale.max(NANO), format)
    }

    /// The number without its sign for a unit that is a power of two.
    fn binary(&self, power: u32) -> Quantity {
        let nano_per_unit = (1_i128 << power) * 1_000_000_000;
        let limit = BINARY_MAX * 1_000_000_000;
        let mut nano = 0_i128;
        for digit in self.fraction.bytes().rev() {
            // Carrying up whatever is left of a finer digit rounds the sum up, as the last step alone would.
            nano = nano_per_unit * i128::from(digit - b'0') + nano / 10 + i128::from(nano % 10 != 0);
        }
        nano = nano / 10 + i128::from(nano % 10 != 0);
        let units = self.whole.bytes().try_fold(0_i128, |units, digit| {
            units.checked_mul(10)?.checked_add(i128::from(digit - b'0')).filter(|units| *units <= BINARY_MAX)
        });
        let nano = units
            .and_then(|units| units.checked_mul(nano_per_unit))
            .map_or(limit, |whole| whole.saturating_add(nano).min(limit));
        let format = if nano < 1_000_000_000 { Format::DecimalSi } else { Format::BinarySi };
        Quantity::normalised(nano, NANO, format)
    }

    /// Whether Kubernetes prints the text as it was written (A-HASH-8, step 2).
    pub(super) fn is_kept(&self) -> bool {
        let whole = if self.whole.is_empty() { "0" } else { self.whole };
        match self.unit {
            Unit::Ten(power, _) => {
                let scale = power - length(self.fraction);
                whole.len() + self.fraction.len() <= 18
                    && scale >= NANO
                    && scale % 3 == 0
                    && !format!("{whole}{}", self.fraction).ends_with("000")
                    && !whole.starts_with('0')
            }
            Unit::Two(power) => {
                let rest = 14 - length(whole) - i32::try_from(power * 3 / 10).unwrap_or(i32::MAX);
                let divisible_by_8 = whole.parse::<i64>().is_ok_and(|value| value % 8 == 0);
                self.fraction.is_empty() && rest >= 0 && !divisible_by_8
            }
        }
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Length of a text, capped.
fn length(text: &str) -> i32 {
    i32::try_from(text.len()).unwrap_or(i32::MAX).min(LENGTH_LIMIT)
}
