//! Quantities as Kubernetes writes them (`100m`, `1.5Gi`, `1e3`): parsing, exact arithmetic, printing.
//!
//! A value is `mantissa * 10^scale` with at most 38 significant digits and no part finer than 10⁻⁹. What does not fit is
//! rounded away from zero or capped, never an overflow: no input, however long, costs more than its own length.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, Neg, Sub};

mod spelling;

use spelling::Spelling;

/// Limit of the mantissa: 38 digits, so that twice the mantissa still fits in an `i128`.
const MANTISSA_LIMIT: i128 = 10_i128.pow(38);
/// Finest part that a quantity keeps: 10⁻⁹.
const NANO: i32 = -9;
/// The scale of thousandths.
const MILLI: i32 = -3;
/// Scales above are capped: nobody means 10^100, and printing one must stay cheap.
const MAX_SCALE: i32 = 100;
const DECIMAL_SUFFIXES: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY_SUFFIXES: [(&str, u32); 6] =
    [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity was written and is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `100m`, `5`, `2k`.
    DecimalSi,
    /// `512Ki`, `1Gi`.
    BinarySi,
    /// `1e3`.
    DecimalExponent,
}

/// Why a text is no quantity; the texts are those of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Empty, or characters that no quantity has.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// A unit that does not exist, or an exponent that is no integer.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// The finest part that survives when a quantity is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 10⁻⁹: every quantity.
    Nano,
    /// 10⁻³, rounded up: `resources.limits` and `resources.requests` (A-DEF-37).
    Milli,
}

/// An exact decimal number and the format in which it is printed. Equality and order look at the number alone.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    /// No trailing decimal zero; `0` for zero.
    mantissa: i128,
    /// Power of ten of the mantissa's last digit; `0` for zero.
    scale: i32,
    format: Format,
}

impl Quantity {
    /// Zero in decimal format.
    pub const ZERO: Self = Self { mantissa: 0, scale: 0, format: Format::DecimalSi };

    /// Reads a quantity. Parts finer than 10⁻⁹ are rounded away from zero, binary quantities capped at ±(2⁶³−1).
    ///
    /// # Errors
    ///
    /// [`QuantityError`] if Kubernetes refuses the text as well.
    ///
    /// Rule: A-HASH-8.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        Ok(Spelling::split(text)?.quantity())
    }

    /// `milli` thousandths, in decimal format.
    #[must_use]
    pub fn from_milli(milli: i128) -> Self {
        Self::normalised(milli, MILLI, Format::DecimalSi)
    }

    /// The same number, printed in `format`.
    #[must_use]
    pub fn with_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// The format in which it is printed.
    #[must_use]
    pub fn format(self) -> Format {
        self.format
    }

    /// Whether the number is zero.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    /// Whether the number is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The number in thousandths, rounded away from zero; capped at the limits of `i128`.
    ///
    /// Rule: I-RES-28.
    #[must_use]
    pub fn milli_rounded_up(self) -> i128 {
        match power_of_ten(self.scale - MILLI) {
            Some(factor) => self.mantissa.saturating_mul(factor),
            None if self.scale > MILLI => self.mantissa.signum().saturating_mul(i128::MAX),
            None => shift_right_up(self.mantissa, MILLI.abs_diff(self.scale)),
        }
    }

    /// Rounds away from zero to a multiple of 1/1000, keeping the format.
    ///
    /// Rule: A-DEF-37.
    #[must_use]
    pub fn round_up_to_milli(self) -> Self {
        if self.scale >= MILLI {
            return self;
        }
        Self::normalised(self.milli_rounded_up(), MILLI, self.format)
    }

    /// Removes trailing zeros and keeps the limits of the type.
    fn normalised(mut mantissa: i128, mut scale: i32, format: Format) -> Self {
        if mantissa == 0 {
            return Self { format, ..Self::ZERO };
        }
        while mantissa.abs_diff(0) >= MANTISSA_LIMIT.unsigned_abs() {
            mantissa = shift_right_up(mantissa, 1);
            scale += 1;
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            scale += 1;
        }
        Self { mantissa, scale: scale.min(MAX_SCALE), format }
    }

    /// Number of decimal digits before the point; negative for numbers below 0.1.
    fn magnitude(self) -> i32 {
        digit_count(self.mantissa) + self.scale
    }

    /// The number if it is whole and fits.
    fn whole(self) -> Option<i128> {
        if self.scale < 0 {
            return None;
        }
        self.mantissa.checked_mul(power_of_ten(self.scale)?)
    }

    /// Writes the number with the largest of `Ki` … `Ei` that divides it; `false` if that would need a fraction.
    fn write_binary(self, f: &mut fmt::Formatter<'_>) -> Result<bool, fmt::Error> {
        let Some(mut value) = self.whole() else { return Ok(false) };
        if value.abs_diff(0) < 1024 {
            return Ok(false);
        }
        let mut suffix = "";
        for (larger, _) in BINARY_SUFFIXES {
            if value % 1024 != 0 {
                break;
            }
            value /= 1024;
            suffix = larger;
        }
        write!(f, "{value}{suffix}")?;
        Ok(true)
    }
}

/// Canonical text: the fewest digits that need no fraction.
///
/// Rule: I-RES-36.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        if self.format == Format::BinarySi && self.write_binary(f)? {
            return Ok(());
        }
        let mut zeros = self.scale.rem_euclid(3);
        let mut exponent = self.scale - zeros;
        if self.format != Format::DecimalExponent && exponent > 18 {
            zeros += exponent - 18;
            exponent = 18;
        }
        write!(f, "{}", self.mantissa)?;
        for _ in 0..zeros {
            f.write_str("0")?;
        }
        if self.format == Format::DecimalExponent {
            return if exponent == 0 { Ok(()) } else { write!(f, "e{exponent}") };
        }
        let suffix = DECIMAL_SUFFIXES.iter().find(|(_, power)| *power == exponent).map(|(suffix, _)| *suffix);
        f.write_str(suffix.unwrap_or_default())
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = self.mantissa.signum();
        if sign != other.mantissa.signum() || sign == 0 {
            return sign.cmp(&other.mantissa.signum());
        }
        let by_size = self
            .magnitude()
            .cmp(&other.magnitude())
            .then_with(|| leading_digits(self.mantissa).cmp(&leading_digits(other.mantissa)));
        if sign > 0 { by_size } else { by_size.reverse() }
    }
}

/// Exact up to 38 digits. The sum has the format of the left operand, unless that is zero.
///
/// Rule: I-RES-8, I-RES-27.
impl Add for Quantity {
    type Output = Self;

    fn add(self, right: Self) -> Self {
        let format = if self.is_zero() { right.format } else { self.format };
        if self.is_zero() || right.is_zero() {
            let operand = if self.is_zero() { right } else { self };
            return operand.with_format(format);
        }
        let (coarse, fine) = if self.scale >= right.scale { (self, right) } else { (right, self) };
        // As many digits of the finer operand as fit beside the coarser one: all, below 38 digits.
        let room = 38 - digit_count(coarse.mantissa);
        let shift = (coarse.scale - fine.scale).min(room);
        let scale = coarse.scale - shift;
        let aligned = coarse.mantissa.saturating_mul(power_of_ten(shift).unwrap_or(1));
        let rest = shift_right_up(fine.mantissa, scale.abs_diff(fine.scale));
        // Both are below 10^38, so the sum fits.
        Self::normalised(aligned.saturating_add(rest), scale, format)
    }
}

/// As [`Add`], with the right operand negated.
impl Sub for Quantity {
    type Output = Self;

    fn sub(self, right: Self) -> Self {
        self + -right
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { mantissa: -self.mantissa, ..self }
    }
}

/// The text of a quantity as upstream stores and hashes it: kept as written where Kubernetes' own types keep it, canonical
/// otherwise. `source` is the text of the JSON string, or the literal of a JSON number.
///
/// # Errors
///
/// As [`Quantity::parse`].
///
/// Rule: A-HASH-8, A-DEF-37.
pub fn stored_text(source: &str, precision: Precision) -> Result<String, QuantityError> {
    let source = source.trim();
    let spelling = Spelling::split(source)?;
    let value = spelling.quantity();
    let stored = if precision == Precision::Milli { value.round_up_to_milli() } else { value };
    if stored == value && spelling.is_kept() { Ok(source.to_owned()) } else { Ok(stored.to_string()) }
}

fn power_of_ten(exponent: i32) -> Option<i128> {
    10_i128.checked_pow(u32::try_from(exponent).ok()?)
}

fn digit_count(value: i128) -> i32 {
    value.unsigned_abs().checked_ilog10().map_or(0, |log| i32::try_from(log).unwrap_or_default() + 1)
}

/// The digits moved to the left until there are 38 of them, without the sign.
fn leading_digits(mantissa: i128) -> i128 {
    mantissa.abs().saturating_mul(power_of_ten(38 - digit_count(mantissa)).unwrap_or(1))
}

/// Divides by `10^digits`, away from zero.
fn shift_right_up(value: i128, digits: u32) -> i128 {
    match 10_i128.checked_pow(digits) {
        Some(divisor) => value / divisor + if value % divisor == 0 { 0 } else { value.signum() },
        None => value.signum(),
    }
}

#[cfg(test)]
mod tests;
