use base64::{Engine, prelude::BASE64_STANDARD};

/// A user name and a password (RFC 7617, section 2), decoded without an allocation.
pub(super) struct UserPass {
    bytes: [u8; MAX_DECODED],
    length: usize,
    colon: usize,
}

/// The limit of a user name and a password together, with the colon.
const MAX_DECODED: usize = 768;
const MAX_ENCODED: usize = MAX_DECODED / 3 * 4;

impl UserPass {
    /// Decodes credentials: canonical base64 of UTF-8 without control characters.
    pub(super) fn decode(encoded: &[u8]) -> Option<Self> {
        if encoded.len() > MAX_ENCODED {
            return None;
        }
        let mut bytes = [0; MAX_DECODED];
        // The engine refuses missing padding, and bits after the last byte.
        let length = BASE64_STANDARD.decode_slice(encoded, &mut bytes).ok()?;
        let text = std::str::from_utf8(&bytes[..length]).ok()?;
        if text.chars().any(char::is_control) {
            return None;
        }
        let colon = text.find(':')?;
        Some(Self {
            bytes,
            length,
            colon,
        })
    }

    /// Returns the user name, a colon and the password.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).expect("checked by decode")
    }

    /// Returns the length of the user name.
    pub(super) fn colon(&self) -> usize {
        self.colon
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(encoded: &str) -> Option<(String, String)> {
        let decoded = UserPass::decode(encoded.as_bytes())?;
        let (user, rest) = decoded.as_str().split_at(decoded.colon());
        Some((user.to_owned(), rest[1..].to_owned()))
    }

    fn pair(user: &str, password: &str) -> Option<(String, String)> {
        Some((user.to_owned(), password.to_owned()))
    }

    /// AB-02, and the example of RFC 7617, section 2.1
    #[test]
    fn credentials_are_decoded_as_rfc_7617_says() {
        assert_eq!(
            decode("QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            pair("Aladdin", "open sesame")
        );
        assert_eq!(decode("dGVzdDoxMjPCow=="), pair("test", "123£"));
        assert_eq!(decode(&BASE64_STANDARD.encode("a:b:c")), pair("a", "b:c"));
        assert_eq!(decode(&BASE64_STANDARD.encode(":")), pair("", ""));
    }

    /// AB-02, AB-04
    #[test]
    fn other_text_is_refused() {
        let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        for bad in [
            "",
            "QTo",
            "QTr=",
            "QR==",
            "QWxhZGRpbjpvcGVuIHNlc2FtZR==",
            "QTo=\n",
            "QT o=",
            "QTo= ",
            "QTo_",
            "====",
            "!!!!",
            &encode(b"nocolon"),
            &encode(b"a:b\0c"),
            &encode(b"a\nb:c"),
            &encode(b"a:\x7f"),
            &encode(b"a:\xff"),
            &encode("a:\u{85}".as_bytes()),
            &encode(&[b':'; MAX_DECODED + 1]),
            &"A".repeat(1 << 20),
        ] {
            assert_eq!(decode(bad), None, "{bad:.40}");
        }
        assert!(decode(&encode(&[b':'; MAX_DECODED])).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_pair_is_decoded_as_it_was(user in "[^:\\p{Cc}]{0,30}", password in "\\P{Cc}{0,30}") {
            let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
            prop_assert_eq!(decode(&encoded), pair(&user, &password));
        }

        /// AB-04
        #[test]
        fn one_encoding_is_accepted_for_each_pair(encoded in "[A-Za-z0-9+/]{0,40}={0,2}") {
            if let Some((user, password)) = decode(&encoded) {
                prop_assert_eq!(BASE64_STANDARD.encode(format!("{user}:{password}")), encoded);
            }
        }
    }
}
