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
