use crate::{
    encode::Encode,
    escape::{escape, is_hostile},
};

/// `key=value` pairs, spelt as go-logfmt spells them.
#[derive(Debug)]
pub(crate) enum Logfmt {}

impl Encode for Logfmt {
    const START: &'static str = "";
    const COMMA: &'static str = " ";
    const QUOTE: &'static str = "";
    const COLON: &'static str = "=";
    const END: &'static str = "\n";

    /// Leaves out the characters that go-logfmt leaves out of a key, and hostile ones. A key of which nothing is left is `_`.
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

    /// Quotes what go-logfmt quotes, and hostile characters. Without quotes nothing is escaped, not even a backslash.
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

/// As `needsQuotedValueRune` of go-logfmt: blank or below, `=`, `"`, DEL, and what stands for bytes that are not UTF-8.
fn needs_quotes(c: char) -> bool {
    matches!(c, ' ' | '=' | '"' | char::REPLACEMENT_CHARACTER) || is_hostile(c)
}

/// Whether a byte is ASCII that needs no quotes.
const BARE: [bool; 256] = {
    let mut bare = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        bare[byte] = byte != b'=' as usize && byte != b'"' as usize;
        byte += 1;
    }
    bare
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(value: &str) -> String {
        let mut out = Vec::new();
        Logfmt::text(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    fn name(value: &str) -> String {
        let mut out = Vec::new();
        Logfmt::name(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// GK-LG-7: go-logfmt's own table of values, as far as it is about strings.
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
            assert_eq!(text(value), expected);
        }
    }

    /// LG-02
    #[test]
    fn keys_lose_what_would_break_the_record() {
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
            assert_eq!(name(key), expected);
        }
    }
    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-01, LG-02, LG-03: between quotes go-logfmt reads as JSON does, and without them it ends at a blank.
        #[test]
        fn any_text_is_one_harmless_word_that_reads_back(
            value in "([\0-\x20=\"\\\\\x7f-\u{9f}\u{2028}-\u{202e}\u{fffd}]|.){0,24}|null|[a-c]{0,3}",
        ) {
            let text = text(&value);
            prop_assert!(!text.contains(is_hostile), "{text:?}");
            if text.starts_with('"') {
                prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value.clone());
            } else {
                let breaks = |c: char| c <= ' ' || matches!(c, '=' | '"' | '\u{fffd}');
                prop_assert!(!text.contains(breaks), "{text:?}");
                prop_assert_eq!(&text, &value);
                prop_assert!(text != "null");
            }
            let name = name(&value);
            let breaks = |c: char| c <= ' ' || matches!(c, '=' | '"' | '\u{fffd}') || is_hostile(c);
            let kept: String = value.chars().filter(|c| !breaks(*c)).collect();
            prop_assert_eq!(name, if kept.is_empty() { "_".to_owned() } else { kept });
        }
    }
}
