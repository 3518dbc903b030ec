//! Where things end in a JSON text: the loops below [`super::Cursor`], on bytes and positions alone.

/// Where a text is broken, and how.
pub(super) struct Broken {
    pub(super) at: usize,
    pub(super) why: Why,
}

pub(super) enum Why {
    Expected(&'static str),
    Because(&'static str),
    TooDeep,
}

fn expected(at: usize, what: &'static str) -> Broken {
    Broken { at, why: Why::Expected(what) }
}

fn because(at: usize, detail: &'static str) -> Broken {
    Broken { at, why: Why::Because(detail) }
}

/// The end of the value that starts at `at`, which nests at most `depth` deep. Most of a review is passed over here, so the
/// position stays in a register, and nothing is called but for what is rare.
pub(super) fn value_end(bytes: &[u8], mut at: usize, depth: u32) -> Result<usize, Broken> {
    // One bit for each level, from the lowest: set in an object.
    let (mut levels, mut level) = (0_u128, 0_u32);
    loop {
        at = past_space(bytes, at);
        match bytes.get(at) {
            Some(b'"') => at = string_end(bytes, at + 1)?.0,
            Some(open @ (b'{' | b'[')) => {
                let is_object = *open == b'{';
                if level >= depth {
                    return Err(Broken { at, why: Why::TooDeep });
                }
                at = past_space(bytes, at + 1);
                if bytes.get(at) == Some(if is_object { &b'}' } else { &b']' }) {
                    at += 1;
                } else {
                    levels = levels << 1 | u128::from(is_object);
                    level += 1;
                    if is_object {
                        at = key_end(bytes, at)?;
                    }
                    continue;
                }
            }
            Some(b'-' | b'0'..=b'9') => at = number_end(bytes, at)?,
            Some(b't') => at = literal_end(bytes, at, b"true")?,
            Some(b'f') => at = literal_end(bytes, at, b"false")?,
            Some(b'n') => at = literal_end(bytes, at, b"null")?,
            _ => return Err(expected(at, "a value")),
        }
        // A value has ended: close levels until one goes on.
        loop {
            if level == 0 {
                return Ok(at);
            }
            let is_object = levels & 1 == 1;
            at = past_space(bytes, at);
            match bytes.get(at) {
                Some(b',') if is_object => {
                    at = key_end(bytes, past_space(bytes, at + 1))?;
                    break;
                }
                Some(b',') => {
                    at += 1;
                    break;
                }
                Some(b'}') if is_object => at += 1,
                Some(b']') if !is_object => at += 1,
                _ => return Err(expected(at, if is_object { "`,` or `}`" } else { "`,` or `]`" })),
            }
            levels >>= 1;
            level -= 1;
        }
    }
}

/// The position of the next byte that is no white space.
#[inline]
pub(super) fn past_space(bytes: &[u8], mut at: usize) -> usize {
    // Most texts have no white space at all.
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of a member name and its colon.
#[inline]
fn key_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    if bytes.get(at) != Some(&b'"') {
        return Err(expected(at, "a member name"));
    }
    let at = past_space(bytes, string_end(bytes, at + 1)?.0);
    if bytes.get(at) == Some(&b':') { Ok(at + 1) } else { Err(expected(at, "`:`")) }
}

/// The end of a string that was opened before `at`, its closing quote included, and whether it holds escapes.
#[inline]
pub(super) fn string_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), Broken> {
    let mut has_escapes = false;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok((at + 1, has_escapes)),
            Some(b'\\') => {
                has_escapes = true;
                at = escape_end(bytes, at)?;
            }
            Some(_) => return Err(because(at, "control character in a string")),
            None => return Err(because(at, "the text ends inside a string")),
        }
    }
}

fn escape_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(at + 2),
        Some(b'u') if bytes.get(at + 2..at + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => {
            Ok(at + 6)
        }
        _ => Err(because(at, "broken escape in a string")),
    }
}

pub(super) fn literal_end(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Broken> {
    let is_whole = bytes.get(at..).is_some_and(|rest| rest.starts_with(word));
    if is_whole {
        Ok(at + word.len())
    } else {
        Err(because(at, "broken literal, expected `true`, `false` or `null`"))
    }
}

fn number_end(bytes: &[u8], at: usize) -> Result<usize, Broken> {
    let rest = bytes.get(at..).unwrap_or_default();
    let is_part = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().take_while(is_part).count();
    let number = rest.get(..length).unwrap_or_default();
    if is_number(number) { Ok(at + length) } else { Err(because(at, "broken number")) }
}

/// Position of the first byte from `position` on that is a quote, a backslash or a control character, or the end of the text.
///
/// Looks at eight bytes at a time. Flipping the bit of value 2 brings the quote below 0x21 and takes the blank out of there,
/// so that one comparison finds quotes and control characters; the lowest mark is exact.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut position: usize) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    while let Some(word) = bytes.get(position..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*word);
        let flipped = word ^ (ONES * 2);
        let quotes_and_controls = flipped.wrapping_sub(ONES * 0x21) & !flipped;
        let zeroed = word ^ (ONES * u64::from(b'\\'));
        let backslashes = zeroed.wrapping_sub(ONES) & !zeroed;
        let marks = (quotes_and_controls | backslashes) & HIGHS;
        if marks != 0 {
            return position + (marks.trailing_zeros() / 8) as usize;
        }
        position += 8;
    }
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    let rest = bytes.get(position..).unwrap_or_default();
    position + rest.iter().position(is_mark).unwrap_or(rest.len())
}

/// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
fn is_number(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let whole = digits(text);
    if whole == 0 || (whole > 1 && text.first() == Some(&b'0')) {
        return false;
    }
    let mut rest = text.get(whole..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = fraction.get(count..).unwrap_or_default();
    }
    let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) else {
        return rest.is_empty();
    };
    let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
    !exponent.is_empty() && digits(exponent) == exponent.len()
}
