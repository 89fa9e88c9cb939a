//! The formats of a line: the parts of logfmt and JSON, and the encoding of names and texts.

use std::{error::Error, fmt, iter::successors};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// `key=value` pairs in the style of [go-logfmt](https://github.com/go-logfmt/logfmt).
    Logfmt,
    /// One JSON object per line ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).
    Json,
}

/// The fields at the start of every line.
pub(crate) const HEAD: [&str; 3] = ["ts", "level", "target"];

/// The field name of a message in a `tracing` event.
pub(crate) const MESSAGE: &str = "message";
/// The field name of a message in a line.
pub(crate) const MSG: &str = "msg";

/// Encodes the parts of a line in one [`Format`].
pub(crate) trait Encode: Send + Sync + 'static {
    /// Starts a line.
    const START: &'static str;
    /// Separates two fields.
    const SEPARATOR: &'static str;
    /// Encloses a name, and a text that needs no escapes.
    const QUOTE: &'static str;
    /// Separates a name from its value.
    const ASSIGN: &'static str;
    /// Ends a line.
    const END: &'static str;

    /// Appends the name of a field, without quotes.
    fn name(out: &mut Vec<u8>, name: &str);

    /// Appends a text value, with quotes if needed.
    fn text(out: &mut Vec<u8>, text: &str);
}

/// Encodes lines as JSON ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)).
#[derive(Debug)]
pub(crate) enum Json {}

impl Encode for Json {
    const START: &'static str = "{";
    const SEPARATOR: &'static str = ",";
    const QUOTE: &'static str = "\"";
    const ASSIGN: &'static str = ":";
    const END: &'static str = "}\n";

    fn name(out: &mut Vec<u8>, name: &str) {
        escape(out, name);
    }

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'"');
        escape(out, text);
        out.push(b'"');
    }
}

/// Encodes lines as `key=value` pairs, as [go-logfmt](https://github.com/go-logfmt/logfmt) does.
#[derive(Debug)]
pub(crate) enum Logfmt {}

impl Encode for Logfmt {
    const START: &'static str = "";
    const SEPARATOR: &'static str = " ";
    const QUOTE: &'static str = "";
    const ASSIGN: &'static str = "=";
    const END: &'static str = "\n";

    /// Removes the characters that go-logfmt removes from keys, and those of [`is_unsafe`]. An empty key becomes `_`.
    fn name(out: &mut Vec<u8>, name: &str) {
        let start = out.len();
        if is_bare(name) {
            out.extend_from_slice(name.as_bytes());
        } else {
            for c in name.chars().filter(|c| !needs_quotes(*c)) {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if out.len() == start {
            out.push(b'_');
        }
    }

    /// Quotes the values that go-logfmt quotes. An unquoted value has no escapes, not even for a backslash.
    fn text(out: &mut Vec<u8>, text: &str) {
        if is_bare(text) && text != "null" {
            out.extend_from_slice(text.as_bytes());
        } else {
            out.push(b'"');
            escape(out, text);
            out.push(b'"');
        }
    }
}

fn is_bare(text: &str) -> bool {
    text.bytes().all(|byte| BARE[usize::from(byte)]) || !text.contains(needs_quotes)
}

/// Returns true for the characters of go-logfmt's `needsQuotedValueRune` and of [`is_unsafe`].
fn needs_quotes(c: char) -> bool {
    matches!(c, ' ' | '=' | '"' | char::REPLACEMENT_CHARACTER) || is_unsafe(c)
}

/// The ASCII bytes that need no quotes in logfmt.
const BARE: [bool; 256] = {
    let mut bare = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        bare[byte] = byte != b'=' as usize && byte != b'"' as usize;
        byte += 1;
    }
    bare
};

/// The name of a field as it stands in a line, with the separator before it and the assignment after it.
pub(crate) struct EncodedName {
    pub(crate) text: Box<[u8]>,
    /// The start and the end of the name in `text`.
    pub(crate) name: [usize; 2],
}

/// Encodes the names of fields in advance. As in [`Line`](crate::line::Line), a duplicate name becomes `name_2`.
pub(crate) fn encode_names<E: Encode>(names: &[&'static str]) -> Vec<EncodedName> {
    let mut taken: Vec<Vec<u8>> = HEAD.iter().map(|name| name.as_bytes().to_vec()).collect();
    let encode_name = |name: &&str| {
        let name = if *name == MESSAGE { MSG } else { *name };
        let mut encoded = Vec::new();
        E::name(&mut encoded, name);
        let (length, mut nth) = (encoded.len(), 1_u32);
        while taken.contains(&encoded) {
            nth += 1;
            encoded.truncate(length);
            encoded.extend_from_slice(format!("_{nth}").as_bytes());
        }
        taken.push(encoded.clone());
        let before = [E::SEPARATOR, E::QUOTE].concat();
        let after = [E::QUOTE, E::ASSIGN].concat();
        EncodedName {
            name: [before.len(), before.len() + encoded.len()],
            text: [before.as_bytes(), &encoded, after.as_bytes()]
                .concat()
                .into(),
        }
    };
    names.iter().map(encode_name).collect()
}

/// Appends `text` with the escapes of a quoted string, which are the same in JSON and go-logfmt.
///
/// Quotes, backslashes and the characters of [`is_unsafe`] are escaped.
fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| SUSPECT[usize::from(byte)]) {
        // A suspect byte is the first byte of a character, so the text can be split there.
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = tail.chars();
        if let Some(c) = chars.next() {
            escape_char(out, c);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Returns true for characters that can break a line, control a terminal, or reorder text in an editor.
///
/// These are the controls of ASCII (including ESC) and of ISO 6429 (C1), DEL, the line and paragraph separators, and the characters
/// with Unicode's property `Bidi_Control`. [RUSTSEC-2025-0055](https://rustsec.org/advisories/RUSTSEC-2025-0055.html) describes an attack
/// on logs that do not escape them.
pub(crate) fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The bytes that may start a character that has to be escaped.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        suspect[byte] = true;
        byte += 1;
    }
    suspect[b'"' as usize] = true;
    suspect[b'\\' as usize] = true;
    suspect[0x7f] = true;
    // The first bytes of U+0080 to U+00BF, U+0600 to U+063F and U+2000 to U+2FFF in UTF-8.
    suspect[0xc2] = true;
    suspect[0xd8] = true;
    suspect[0xe2] = true;
    suspect
};

fn escape_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_unsafe(c) => escape_code_point(out, c),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends a character below U+10000 as `\uXXXX`.
fn escape_code_point(out: &mut Vec<u8>, c: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let code = u32::from(c);
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[(code >> shift & 0xf) as usize]);
    }
}

/// Displays an error followed by its [sources](Error::source), separated by colons.
pub(crate) struct ErrorChain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Bounds the chain, because an error may return itself as its source.
        const MAX_SOURCES: usize = 16;
        write!(f, "{}", self.0)?;
        successors(self.0.source(), |&error| error.source())
            .take(MAX_SOURCES)
            .try_for_each(|source| write!(f, ": {source}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn escaped(text: &str) -> String {
        encoded(|out| escape(out, text))
    }

    fn logfmt_text(value: &str) -> String {
        encoded(|out| Logfmt::text(out, value))
    }

    fn logfmt_name(value: &str) -> String {
        encoded(|out| Logfmt::name(out, value))
    }

    /// LG-03
    #[test]
    fn unsafe_characters_are_escaped() {
        let texts = [
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\x1b[2J\x07\0", r"\u001b[2J\u0007\u0000"),
            ("\x7f\u{80}\u{9b}\u{9f}", r"\u007f\u0080\u009b\u009f"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            (
                "\u{202a}\u{202e}\u{2066}\u{2069}",
                r"\u202a\u202e\u2066\u2069",
            ),
            ("\u{61c}\u{200e}\u{200f}", r"\u061c\u200e\u200f"),
            (r#"say "a\b""#, r#"say \"a\\b\""#),
        ];
        for (text, expected) in texts {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn other_characters_are_not_escaped() {
        for text in [
            "",
            "plain",
            "£ 5 ÷ ½",
            "سلام",
            "‘quoted’ – €",
            "日本語",
            "🦀",
        ] {
            assert_eq!(escaped(text), text);
        }
    }

    #[test]
    fn every_unsafe_character_starts_with_a_suspect_byte() {
        for c in (char::MIN..=char::MAX).filter(|c| is_unsafe(*c)) {
            let first = c.encode_utf8(&mut [0; 4]).as_bytes()[0];
            assert!(SUSPECT[usize::from(first)], "{c:?}");
        }
    }

    /// GK-LG-7: the string values of go-logfmt's own table.
    #[test]
    fn values_are_quoted_as_go_logfmt_does() {
        for (value, expected) in [
            ("v", "v"),
            ("", ""),
            (" ", r#"" ""#),
            (r#"""#, r#""\"""#),
            ("=", r#""=""#),
            (r"\", r"\"),
            (r"=\", r#""=\\""#),
            (r#"\""#, r#""\\\"""#),
            ("\n\r\t", r#""\n\r\t""#),
            ("\0", r#""\u0000""#),
            ("\u{fffd}", "\"\u{fffd}\""),
            ("null", r#""null""#),
            ("it's", "it's"),
            ("µ¢", "µ¢"),
        ] {
            assert_eq!(logfmt_text(value), expected);
        }
    }

    /// LG-02
    #[test]
    fn keys_lose_the_characters_that_would_break_the_line() {
        for (key, expected) in [
            ("k", "k"),
            ("k k", "kk"),
            ("k=k", "kk"),
            ("k\"\r\nk", "kk"),
            ("k\u{fffd}k", "kk"),
            ("k\u{9b}\u{202e}\u{2028}\x1b\x7fk", "kk"),
            ("µ", "µ"),
            ("", "_"),
            (" =\"", "_"),
        ] {
            assert_eq!(logfmt_name(key), expected);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-01, LG-02, LG-03: go-logfmt reads a quoted value as JSON does, and an unquoted one up to a space.
        #[test]
        fn any_text_in_logfmt_is_one_safe_value_that_reads_back(
            value in "([\0-\x20=\"\\\\\x7f-\u{9f}\u{2028}-\u{202e}\u{fffd}]|.){0,24}|null|[a-c]{0,3}",
        ) {
            let text = logfmt_text(&value);
            prop_assert!(!text.contains(is_unsafe), "{text:?}");
            if text.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value.clone());
            } else {
                let breaks = |c: char| c <= ' ' || matches!(c, '=' | '"' | '\u{fffd}');
                prop_assert!(!text.contains(breaks), "{text:?}");
                prop_assert_eq!(&text, &value);
                prop_assert!(text != "null");
            }
            let name = logfmt_name(&value);
            let breaks = |c: char| c <= ' ' || matches!(c, '=' | '"' | '\u{fffd}') || is_unsafe(c);
            let kept: String = value.chars().filter(|c| !breaks(*c)).collect();
            prop_assert_eq!(name, if kept.is_empty() { "_".to_owned() } else { kept });
        }

        /// LG-03, LG-09
        #[test]
        fn any_text_in_json_is_a_safe_string_that_reads_back(
            text in "([\0-\x20\"\\\\\x7f-\u{9f}\u{2028}-\u{202e}\u{2066}-\u{2069}]|.){0,24}",
        ) {
            let out = encoded(|out| Json::text(out, &text));
            prop_assert!(!out.contains(is_unsafe), "{out:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.clone());
            let name = encoded(|out| Json::name(out, &text));
            prop_assert_eq!(format!("\"{name}\""), out);
        }
    }
}
