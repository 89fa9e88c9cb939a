use crate::{encode::Encode, escape::escape};

/// One JSON object (RFC 8259).
#[derive(Debug)]
pub(crate) enum Json {}

impl Encode for Json {
    const START: &'static str = "{";
    const COMMA: &'static str = ",";
    const QUOTE: &'static str = "\"";
    const COLON: &'static str = ":";
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::escape::is_hostile;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-03, LG-09
        #[test]
        fn any_text_is_a_harmless_string_that_reads_back(
            text in "([\0-\x20\"\\\\\x7f-\u{9f}\u{2028}-\u{202e}\u{2066}-\u{2069}]|.){0,24}",
        ) {
            let mut out = Vec::new();
            Json::text(&mut out, &text);
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.contains(is_hostile), "{out:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.clone());
            let mut name = Vec::new();
            Json::name(&mut name, &text);
            prop_assert_eq!(format!("\"{}\"", String::from_utf8(name).unwrap()), out);
        }
    }
}
