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
            b',' => scan.pair(at),
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
    matches!(byte, b'=' | b':' | b',' | b' ' | b'J')
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
        if self.byte(start) == Some(b'[') {
            // Bytes, as numbers.
            return Some(self.run(start + 1, |byte| byte != b']'));
        }
        let is_whole_line = ends_with(name, b"authorization") || ends_with(name, b"cookie");
        if is_whole_line && !is_quoted {
            return Some(self.run(start, |byte| !matches!(byte, b'\r' | b'\n' | b'"')));
        }
        // "unexpected token: x" is no secret.
        let is_prose = !is_quoted && ends_with(name, b"token");
        let is_in = |byte| byte > b' ' && !matches!(byte, b',' | b'}' | b')' | b']' | b'"' | b';');
        (!is_prose).then(|| self.run(start, is_in))
    }

    /// `("name", "value")`, as `Debug` shows what is in lists.
    fn pair(&self, sign: usize) -> Option<Range<usize>> {
        let (name, is_quoted) = self.name_before(sign)?;
        if !is_quoted || !self.keys.contain(name) {
            return None;
        }
        self.quoted(sign + 1)
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

    /// `Bearer` and eight characters or more, or `Basic` and what looks as if no human had written it.
    fn credentials(&self, sign: usize) -> Option<Range<usize>> {
        let before = &self.text[..sign];
        let is_bearer = ends_with(before, b"bearer");
        if !is_bearer && !ends_with(before, b"basic") {
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
        let is_long = text.len() >= 8;
        (is_long && (is_bearer || is_odd) || is_at_cut).then_some(token)
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
        let text = &self.text[..sign];
        let text = text.strip_suffix(b" ").unwrap_or(text);
        let unquoted = text.strip_suffix(b"\"").or_else(|| text.strip_suffix(b"'"));
        let text = trim_end(unquoted.unwrap_or(text), b'\\');
        // `user[password]=`, be it escaped.
        let text = [&b"]"[..], b"%5D", b"%5d"]
            .iter()
            .find_map(|bracket| text.strip_suffix(*bracket))
            .unwrap_or(text);
        let is_in = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let name = text.iter().rev().take(Self::LONGEST_NAME);
        let length = name.take_while(|byte| is_in(byte)).count();
        (length > 0).then_some((&text[text.len() - length..], unquoted.is_some()))
    }

    /// Returns what is in quotes at `from`, be it inside of something like `Some(`; of a list, all that is in it.
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
        let is_list = self.text[wrapping.start..at].contains(&b'[');
        let start = self.skip(at, b'\\', Self::LONGEST_NAME);
        let quote = self
            .byte(start)
            .filter(|byte| matches!(byte, b'"' | b'\''))?;
        let end = self.closing(start + 1, quote, start - at, is_list);
        Some(start + 1..end)
    }

    /// Returns where a quotation ends, whose quotes have so many backslashes before them.
    ///
    /// A quote inside of it has more of them; without any, it has an odd number.
    fn closing(&self, start: usize, quote: u8, escapes: usize, is_list: bool) -> usize {
        let mut backslashes = 0;
        for (at, byte) in self.text.iter().enumerate().skip(start) {
            if *byte == b'\\' {
                backslashes += 1;
                continue;
            }
            let is_closing = match escapes {
                0 => backslashes % 2 == 0,
                _ => backslashes <= escapes,
            };
            let is_last = !is_list || self.byte(at + 1).is_none_or(|next| next == b']');
            if *byte == quote && is_closing && is_last {
                return at - escapes.min(backslashes);
            }
            backslashes = 0;
        }
        self.text.len()
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

fn trim_end(text: &[u8], byte: u8) -> &[u8] {
    let trimmed = text.iter().rev().take(Scan::LONGEST_NAME);
    let trimmed = trimmed.take_while(|other| **other == byte).count();
    &text[..text.len() - trimmed]
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
