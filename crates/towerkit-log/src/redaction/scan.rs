use std::ops::Range;

use super::name_set::NameSet;

/// Finds the first credential in `text` at `from` or later, by the patterns of [`Redaction`](crate::Redaction).
///
/// If `is_truncated`, the end of the text is missing, and a possible start of a credential at the end counts as one. The range starts
/// and ends at character boundaries. The total time for all credentials of a text is linear in its length.
pub(crate) fn next_credential(
    keys: &NameSet,
    text: &str,
    from: usize,
    is_truncated: bool,
) -> Option<Range<usize>> {
    let scan = Scan {
        keys,
        text: text.as_bytes(),
        is_truncated,
    };
    let mut at = from;
    while let Some(next) = scan.text[at..].iter().position(|byte| is_delimiter(*byte)) {
        at += next;
        let found = match scan.text[at] {
            b'=' => scan.assignment(at),
            b':' => scan.userinfo(at).or_else(|| scan.header(at)),
            b' ' => scan.credentials(at),
            b',' => scan.pair(at),
            _ => scan.jwt(at),
        };
        // A credential may begin before its delimiter, but not before `from`.
        if let Some(found) = found.filter(|found| !found.is_empty() && found.start >= from) {
            return Some(found);
        }
        at += 1;
    }
    None
}

/// Returns true for the bytes that stand next to a credential, or inside it.
const fn is_delimiter(byte: u8) -> bool {
    matches!(byte, b'=' | b':' | b',' | b' ' | b'J')
}

/// The text and the settings of one search.
struct Scan<'a> {
    keys: &'a NameSet,
    text: &'a [u8],
    is_truncated: bool,
}

impl Scan<'_> {
    /// The maximum distance in bytes from a delimiter back to the start of its name.
    const MAX_NAME: usize = 64;
    /// The maximum length in bytes of a password in a URL that contains unescaped slashes.
    const MAX_PASSWORD: usize = 256;

    /// Finds the value of `key=value`, as in queries, forms, cookies and connection strings.
    fn assignment(&self, delimiter: usize) -> Option<Range<usize>> {
        let (key, _) = self.name_before(delimiter)?;
        if self.byte(delimiter + 1) == Some(b'=') || !self.keys.contains(key) {
            return None;
        }
        Some(self.quoted(delimiter + 1).unwrap_or_else(|| {
            let start = self.skip(delimiter + 1, b' ', 1);
            self.run(start, |byte| {
                !matches!(byte, b'&' | b';' | b'"') && byte > b' '
            })
        }))
    }

    /// Finds the value of `name: value`, as in headers, JSON and [`Debug`](std::fmt::Debug) output.
    fn header(&self, delimiter: usize) -> Option<Range<usize>> {
        let (name, is_quoted) = self.name_before(delimiter)?;
        if !self.keys.contains(name) {
            return None;
        }
        if let Some(quoted) = self.quoted(delimiter + 1) {
            return Some(quoted);
        }
        let start = self.skip(delimiter + 1, b' ', 8);
        if self.byte(start) == Some(b'[') {
            // A list of bytes as numbers.
            return Some(self.run(start + 1, |byte| byte != b']'));
        }
        let is_whole_line = ends_with(name, b"authorization") || ends_with(name, b"cookie");
        if is_whole_line && !is_quoted {
            return Some(self.run(start, |byte| !matches!(byte, b'\r' | b'\n' | b'"')));
        }
        // "unexpected token: x" is prose.
        let is_prose = !is_quoted && ends_with(name, b"token");
        let is_in = |byte| byte > b' ' && !matches!(byte, b',' | b'}' | b')' | b']' | b'"' | b';');
        (!is_prose).then(|| self.run(start, is_in))
    }

    /// Finds the value of `("name", "value")`, as [`Debug`](std::fmt::Debug) writes a list of pairs.
    fn pair(&self, delimiter: usize) -> Option<Range<usize>> {
        let (name, is_quoted) = self.name_before(delimiter)?;
        if !is_quoted || !self.keys.contains(name) {
            return None;
        }
        self.quoted(delimiter + 1)
    }

    /// Finds the userinfo of `scheme://user:password@host` ([RFC 3986](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1)).
    fn userinfo(&self, delimiter: usize) -> Option<Range<usize>> {
        if !self.text[delimiter..].starts_with(b"://") {
            return None;
        }
        let start = delimiter + 3;
        let is_word = |byte: u8| byte > b' ' && !matches!(byte, b'"' | b'<' | b'>' | b'`');
        let authority = self.run(start, |byte| is_word(byte) && !b"/?#".contains(&byte));
        let find_at = |text: &[u8]| text.iter().rposition(|byte| *byte == b'@');
        if let Some(at) = find_at(&self.text[authority.clone()]) {
            return Some(start..start + at);
        }
        if self.is_truncated && authority.end == self.text.len() {
            return Some(authority);
        }
        // A password with an unescaped slash.
        let colon = self.text[authority.clone()]
            .iter()
            .position(|b| *b == b':')?;
        let port = &self.text[start + colon + 1..authority.end];
        if port.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let rest = self.text[start..].iter().take(Self::MAX_PASSWORD);
        let word = rest.take_while(|byte| is_word(**byte)).count();
        find_at(&self.text[start..start + word]).map(|at| start..start + at)
    }

    /// Finds the token after `Bearer` or `Basic`, of eight characters or more. After `Basic` it must look random, unlike a word.
    fn credentials(&self, delimiter: usize) -> Option<Range<usize>> {
        let before = &self.text[..delimiter];
        let is_bearer = ends_with(before, b"bearer");
        if !is_bearer && !ends_with(before, b"basic") {
            return None;
        }
        let token = self.run(delimiter + 1, |byte| {
            byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
        });
        let text = &self.text[token.clone()];
        let looks_random = text
            .iter()
            .any(|byte| byte.is_ascii_digit() || *byte == b'=')
            || text
                .windows(2)
                .any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
        let is_at_end = self.is_truncated && token.end == self.text.len();
        let is_long = text.len() >= 8;
        (is_long && (is_bearer || looks_random) || is_at_end).then_some(token)
    }

    /// Finds a JSON Web Token: three or more base64url parts, the first of which encodes a JSON object and so starts with `eyJ`
    /// ([RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)).
    fn jwt(&self, delimiter: usize) -> Option<Range<usize>> {
        let start = delimiter.checked_sub(2)?;
        let is_beginning = start == 0 || !is_base64url(self.text[start - 1]);
        if !self.text[start..].starts_with(b"eyJ") || !is_beginning {
            return None;
        }
        let all = self.run(start, |byte| is_base64url(byte) || byte == b'.');
        let dots = self.text[all.clone()]
            .iter()
            .filter(|byte| **byte == b'.')
            .count();
        let is_at_end = self.is_truncated && all.end == self.text.len();
        (dots >= 2 || is_at_end).then_some(all)
    }

    /// Returns the name that ends before `delimiter`, and true if the name is quoted.
    fn name_before(&self, delimiter: usize) -> Option<(&[u8], bool)> {
        let text = &self.text[..delimiter];
        let text = text.strip_suffix(b" ").unwrap_or(text);
        let unquoted = text.strip_suffix(b"\"").or_else(|| text.strip_suffix(b"'"));
        let text = trim_end(unquoted.unwrap_or(text), b'\\');
        // `user[password]=`, possibly percent-encoded.
        let text = [&b"]"[..], b"%5D", b"%5d"]
            .iter()
            .find_map(|bracket| text.strip_suffix(*bracket))
            .unwrap_or(text);
        let is_in = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let name = text.iter().rev().take(Self::MAX_NAME);
        let length = name.take_while(|byte| is_in(byte)).count();
        (length > 0).then_some((&text[text.len() - length..], unquoted.is_some()))
    }

    /// Returns the quoted text at `from`, possibly inside a wrapper such as `Some(`, or all elements of a list.
    fn quoted(&self, from: usize) -> Option<Range<usize>> {
        let is_wrapping =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'(' | b'[' | b':');
        let mut at = self.skip(from, b' ', 8);
        let wrapping = self.run(at, is_wrapping);
        let wraps = self.text[wrapping.clone()]
            .last()
            .is_some_and(|last| matches!(last, b'(' | b'[' | b'b'));
        if wraps && wrapping.len() <= Self::MAX_NAME {
            at = wrapping.end;
        }
        let is_list = self.text[wrapping.start..at].contains(&b'[');
        let start = self.skip(at, b'\\', Self::MAX_NAME);
        let quote = self
            .byte(start)
            .filter(|byte| matches!(byte, b'"' | b'\''))?;
        let end = self.closing(start + 1, quote, start - at, is_list);
        Some(start + 1..end)
    }

    /// Returns the end of a quoted text whose opening quote follows `escapes` backslashes.
    ///
    /// A quote inside the text follows more backslashes than that, or an odd number if `escapes` is zero.
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

    /// Skips up to `max` repetitions of `byte`.
    fn skip(&self, from: usize, byte: u8, max: usize) -> usize {
        let skipped = self.text[from..].iter().take(max);
        from + skipped.take_while(|other| **other == byte).count()
    }

    /// Returns the range of consecutive bytes that fulfil `is_in`.
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
    let trimmed = text.iter().rev().take(Scan::MAX_NAME);
    let trimmed = trimmed.take_while(|other| **other == byte).count();
    &text[..text.len() - trimmed]
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
