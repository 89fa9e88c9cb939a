use std::ops::Range;

use crate::names::Names;

/// Finds the first secret in `text` at `from` or later; see [`Redaction`](crate::Redaction) for what is one.
///
/// Of text that was cut off the end is missing: what could be the beginning of a secret there counts as one. The range begins and
/// ends at a character. The time it takes, over all secrets of a text, is linear.
pub(crate) fn next_secret(
    keys: &Names,
    text: &str,
    from: usize,
    is_cut: bool,
) -> Option<Range<usize>> {
    let scan = Scan {
        keys,
        text: text.as_bytes(),
        is_cut,
    };
    let mut at = from;
    while let Some(next) = scan.text[at..].iter().position(|byte| is_sign(*byte)) {
        at += next;
        let found = match scan.text[at] {
            b'=' => scan.assignment(at),
            b':' => scan.userinfo(at).or_else(|| scan.header(at)),
            b' ' => scan.credentials(at),
            _ => scan.jwt(at),
        };
        // A secret may begin before its sign, but not in what has been dealt with.
        if let Some(found) = found.filter(|found| !found.is_empty() && found.start >= from) {
            return Some(found);
        }
        at += 1;
    }
    None
}

/// What every secret has beside it, or inside.
const fn is_sign(byte: u8) -> bool {
    matches!(byte, b'=' | b':' | b' ' | b'J')
}

struct Scan<'a> {
    keys: &'a Names,
    text: &'a [u8],
    is_cut: bool,
}

impl Scan<'_> {
    /// Names are looked for this far back.
    const LONGEST_NAME: usize = 64;
    /// The end of a password that should have been escaped is looked for this far.
    const LONGEST_PASSWORD: usize = 256;

    /// `key=value`, as in queries, forms, cookies and connection strings.
    fn assignment(&self, sign: usize) -> Option<Range<usize>> {
        let (key, _) = self.name_before(sign)?;
        if self.byte(sign + 1) == Some(b'=') || !self.keys.contain(key) {
            return None;
        }
        Some(self.quoted(sign + 1).unwrap_or_else(|| {
            let start = self.skip(sign + 1, b' ', 1);
            self.run(start, |byte| {
                !matches!(byte, b'&' | b';' | b'"') && byte > b' '
            })
        }))
    }

    /// `name: value`, as in headers, `Debug` and JSON.
    fn header(&self, sign: usize) -> Option<Range<usize>> {
        let (name, is_quoted) = self.name_before(sign)?;
        if !self.keys.contain(name) {
            return None;
        }
        if let Some(quoted) = self.quoted(sign + 1) {
            return Some(quoted);
        }
        let start = self.skip(sign + 1, b' ', 8);
        let is_whole_line = ends_with(name, b"authorization") || ends_with(name, b"cookie");
        if is_whole_line && !is_quoted {
            return Some(self.run(start, |byte| !matches!(byte, b'\r' | b'\n' | b'"')));
        }
        // "unexpected token: x" is no secret.
        let is_prose = !is_quoted && ends_with(name, b"token");
        let is_in = |byte| byte > b' ' && !matches!(byte, b',' | b'}' | b')' | b']' | b'"' | b';');
        (!is_prose).then(|| self.run(start, is_in))
    }

    /// `scheme://user:password@host`: all before the `@`.
    fn userinfo(&self, sign: usize) -> Option<Range<usize>> {
        if !self.text[sign..].starts_with(b"://") {
            return None;
        }
        let start = sign + 3;
        let is_word = |byte: u8| byte > b' ' && !matches!(byte, b'"' | b'<' | b'>' | b'`');
        let authority = self.run(start, |byte| is_word(byte) && !b"/?#".contains(&byte));
        let at_sign = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
        if let Some(at) = at_sign(&self.text[authority.clone()]) {
            return Some(start..start + at);
        }
        if self.is_cut && authority.end == self.text.len() {
            return Some(authority);
        }
        // A password that should have been escaped, and holds a slash.
        let colon = self.text[authority.clone()]
            .iter()
            .position(|b| *b == b':')?;
        let port = &self.text[start + colon + 1..authority.end];
        if port.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let rest = self.text[start..].iter().take(Self::LONGEST_PASSWORD);
        let word = rest.take_while(|byte| is_word(**byte)).count();
        at_sign(&self.text[start..start + word]).map(|at| start..start + at)
    }

    /// `Bearer` or `Basic`, and what looks as if no human had written it.
    fn credentials(&self, sign: usize) -> Option<Range<usize>> {
        let before = &self.text[..sign];
        if !ends_with(before, b"bearer") && !ends_with(before, b"basic") {
            return None;
        }
        let token = self.run(sign + 1, |byte| {
            byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
        });
        let text = &self.text[token.clone()];
        let is_odd = text
            .iter()
            .any(|byte| byte.is_ascii_digit() || *byte == b'=')
            || text
                .windows(2)
                .any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
        let is_at_cut = self.is_cut && token.end == self.text.len();
        (text.len() >= 8 && is_odd || is_at_cut).then_some(token)
    }

    /// `eyJ…`: three or more parts in base64url, of which the first is a JSON object.
    fn jwt(&self, sign: usize) -> Option<Range<usize>> {
        let start = sign.checked_sub(2)?;
        let is_beginning = start == 0 || !is_base64url(self.text[start - 1]);
        if !self.text[start..].starts_with(b"eyJ") || !is_beginning {
            return None;
        }
        let all = self.run(start, |byte| is_base64url(byte) || byte == b'.');
        let dots = self.text[all.clone()]
            .iter()
            .filter(|byte| **byte == b'.')
            .count();
        let is_at_cut = self.is_cut && all.end == self.text.len();
        (dots >= 2 || is_at_cut).then_some(all)
    }

    /// Returns the name that ends before `sign`, and whether it is in quotes.
    fn name_before(&self, sign: usize) -> Option<(&[u8], bool)> {
        let mut end = sign;
        if end > 0 && self.text[end - 1] == b' ' {
            end -= 1;
        }
        let unquoted = self.text[..end]
            .strip_suffix(b"\"")
            .or_else(|| self.text[..end].strip_suffix(b"'"));
        let before = unquoted.map(|text| text.strip_suffix(b"\\").unwrap_or(text));
        let before_quote = before.unwrap_or(&self.text[..end]);
        let is_in = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let length = before_quote
            .iter()
            .rev()
            .take(Self::LONGEST_NAME)
            .take_while(|byte| is_in(byte))
            .count();
        let name = &before_quote[before_quote.len() - length..];
        (length > 0).then_some((name, unquoted.is_some()))
    }

    /// Returns what is in quotes at `from`, be it inside of something like `Some(`.
    fn quoted(&self, from: usize) -> Option<Range<usize>> {
        let is_wrapping =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'(' | b'[' | b':');
        let mut at = self.skip(from, b' ', 8);
        let wrapping = self.run(at, is_wrapping);
        let wraps = self.text[wrapping.clone()]
            .last()
            .is_some_and(|last| matches!(last, b'(' | b'[' | b'b'));
        if wraps && wrapping.len() <= Self::LONGEST_NAME {
            at = wrapping.end;
        }
        let is_escaped = self.byte(at) == Some(b'\\');
        at += usize::from(is_escaped);
        let quote = self.byte(at).filter(|byte| matches!(byte, b'"' | b'\''))?;
        let start = at + 1;
        let mut end = start;
        while let Some(byte) = self.byte(end) {
            match byte {
                b'\\' if is_escaped && self.byte(end + 1) == Some(quote) => break,
                b'\\' => end += 2,
                byte if byte == quote => break,
                _ => end += 1,
            }
        }
        // What follows a backslash may be longer than a byte.
        let mut end = end.min(self.text.len());
        while self.byte(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end += 1;
        }
        Some(start..end)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.get(at).copied()
    }

    /// Skips a few of `byte`.
    fn skip(&self, from: usize, byte: u8, most: usize) -> usize {
        let skipped = self.text[from..].iter().take(most);
        from + skipped.take_while(|other| **other == byte).count()
    }

    fn run(&self, from: usize, is_in: impl Fn(u8) -> bool) -> Range<usize> {
        let length = self.text[from..]
            .iter()
            .take_while(|byte| is_in(**byte))
            .count();
        from..from + length
    }
}

fn ends_with(text: &[u8], end: &[u8]) -> bool {
    let start = text.len().checked_sub(end.len());
    start.is_some_and(|start| text[start..].eq_ignore_ascii_case(end))
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
