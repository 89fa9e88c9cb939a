/// Appends `text` as it stands between quotes, in JSON (RFC 8259) and in go-logfmt alike.
///
/// Escaped are quotes, backslashes and all that could break a line or fool a terminal: see [`is_hostile`].
pub(crate) fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| SUSPECT[usize::from(byte)]) {
        // A suspect byte begins a character: both halves are whole.
        let (plain, tail) = rest.split_at(at);
        out.extend_from_slice(plain.as_bytes());
        let mut chars = tail.chars();
        if let Some(c) = chars.next() {
            character(out, c);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Whether a character could break a line, or make a terminal or an editor show something else than what is there.
///
/// These are the controls of ASCII (ESC among them) and of ISO 6429 (C1), DEL, the line and paragraph separators, and what Unicode
/// names `Bidi_Control`. RUSTSEC-2025-0055 tells what becomes of a log that lets them through.
pub(crate) fn is_hostile(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a byte may begin a character that has to be escaped.
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

fn character(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_hostile(c) => code_point(out, c),
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Writes a character below U+10000 by its number.
fn code_point(out: &mut Vec<u8>, c: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let code = u32::from(c);
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(HEX[(code >> shift & 0xf) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    /// LG-03
    #[test]
    fn what_could_break_a_line_or_fool_a_terminal_is_escaped() {
        let hostile = [
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
        for (text, expected) in hostile {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn other_text_stands_as_it_is() {
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
    fn every_hostile_character_is_suspect() {
        for c in (char::MIN..=char::MAX).filter(|c| is_hostile(*c)) {
            let first = c.encode_utf8(&mut [0; 4]).as_bytes()[0];
            assert!(SUSPECT[usize::from(first)], "{c:?}");
        }
    }
}
