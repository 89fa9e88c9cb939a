mod name_set;
mod scan;

use std::sync::Arc;

use name_set::NameSet;
use scan::next_credential;

/// Replaces credentials in events by `REDACTED`.
///
/// By default these are:
///
/// - Fields whose name is, or ends with, `authorization`, `cookie`, `password`, `passwd`, `passphrase`, `secret`, `token`, `credential`,
///   `credentials`, `api_key`, `apikey`, `access_key`, `secret_key` or `private_key`. Upper and lower case are equal, and so are `-`, `_`
///   and `.`: `http.header.set-cookie`, `x-api-key` and `clientSecret` match.
/// - Inside values (texts, errors and [`Debug`](std::fmt::Debug) output): the text after such a name, or after `sig`, `signature` or
///   `pwd`, and `=` or `:`, as in queries, forms, headers, cookies, JSON and connection strings.
/// - The [userinfo](https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1) of a URL: the text before the `@`.
/// - The token after [`Bearer`](https://www.rfc-editor.org/rfc/rfc6750) or [`Basic`](https://www.rfc-editor.org/rfc/rfc7617), and
///   [JSON Web Tokens](https://www.rfc-editor.org/rfc/rfc7519).
///
/// Text is not decoded, so a percent-encoded name does not match. Booleans are never redacted.
///
/// ```
/// use towerkit_log::{Format, Redaction};
///
/// let redaction = Redaction::new().field("ssn").key("code");
/// let subscriber = towerkit_log::subscriber(Format::Json).redaction(redaction);
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone)]
pub struct Redaction(Option<Arc<Names>>);

#[derive(Debug, Clone)]
struct Names {
    fields: NameSet,
    keys: NameSet,
}

/// The replacement of a credential.
pub(crate) const REDACTED: &str = "REDACTED";

const FIELDS: [&str; 14] = [
    "authorization",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "credentials",
    "api_key",
    "apikey",
    "access_key",
    "secret_key",
    "private_key",
];

const KEYS: [&str; 3] = ["sig", "signature", "pwd"];

impl Redaction {
    /// Redacts the fields and patterns of the list above.
    #[must_use]
    pub fn new() -> Self {
        FIELDS.iter().fold(
            KEYS.iter().fold(Self::none(), |all, key| all.key(key)),
            |all, field| all.field(field),
        )
    }

    /// Disables redaction. Names can be added to the empty list.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Adds a name of fields, which is also a [`key`](Self::key) inside values.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.names().fields.add(name);
        self.key(name)
    }

    /// Adds a name inside values, such as a query parameter. Fields of this name are not redacted.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.names().keys.add(name);
        self
    }

    fn names(&mut self) -> &mut Names {
        let names = self.0.get_or_insert_with(|| {
            Arc::new(Names {
                fields: NameSet::default(),
                keys: NameSet::default(),
            })
        });
        Arc::make_mut(names)
    }

    /// Returns true if the value of a field with this name is redacted.
    #[inline]
    pub(crate) fn redacts_field(&self, name: &str) -> bool {
        let names = self.0.as_ref();
        names.is_some_and(|names| names.fields.contains(name.as_bytes()))
    }

    /// Appends the redacted `text` to `out` and returns true, or returns false if `text` contains no credential.
    ///
    /// If `is_truncated`, a possible start of a credential at the end of the text is redacted too.
    pub(crate) fn redact_into(&self, text: &str, is_truncated: bool, out: &mut String) -> bool {
        let Some(names) = &self.0 else { return false };
        let mut from = 0;
        while let Some(found) = next_credential(&names.keys, text, from, is_truncated) {
            out.push_str(&text[from..found.start]);
            out.push_str(REDACTED);
            from = found.end;
        }
        if from > 0 {
            out.push_str(&text[from..]);
        }
        from > 0
    }
}

impl Default for Redaction {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::length_limits::prefix;

    fn redacted(text: &str) -> String {
        redacted_of(text, false)
    }

    fn redacted_of(text: &str, is_truncated: bool) -> String {
        let mut clean = String::new();
        if !Redaction::new().redact_into(text, is_truncated, &mut clean) {
            assert_eq!(clean, "");
            clean.push_str(text);
        }
        clean
    }

    /// LG-04
    #[test]
    fn credentials_are_redacted_inside_values() {
        for (text, expected) in [
            ("GET /a?token=abc&x=1", "GET /a?token=REDACTED&x=1"),
            (
                "/a?x=1&X-Amz-Signature=abc#top",
                "/a?x=1&X-Amz-Signature=REDACTED",
            ),
            ("user=a&password=b%20c&x", "user=a&password=REDACTED&x"),
            (
                "https://ann:secret@example.org/a?b",
                "https://REDACTED@example.org/a?b",
            ),
            ("amqp://guest:a/b@host/", "amqp://REDACTED@host/"),
            ("redis://:p@ss@host:6379/0", "redis://REDACTED@host:6379/0"),
            (
                "host=db password='a b' user=x",
                "host=db password='REDACTED' user=x",
            ),
            (
                r#"{"authorization": "Bearer x", "a": 1}"#,
                r#"{"authorization": "REDACTED", "a": 1}"#,
            ),
            (
                r#"Login { user: "a", password: Some("b\"c") }"#,
                r#"Login { user: "a", password: Some("REDACTED") }"#,
            ),
            (
                r#""{\"api_key\":\"x y\",\"b\":2}""#,
                r#""{\"api_key\":\"REDACTED\",\"b\":2}""#,
            ),
            (
                r#"[("accept", "text"), ("cookie", "a=\"b\"; c"), ("x", "y")]"#,
                r#"[("accept", "text"), ("cookie", "REDACTED"), ("x", "y")]"#,
            ),
            (
                r#"{"cookie": ["a=1", "b=2"], "accept": ["x"]}"#,
                r#"{"cookie": ["REDACTED"], "accept": ["x"]}"#,
            ),
            ("user[password]=a&b=c", "user[password]=REDACTED&b=c"),
            (
                "user%5Bpassword%5D=a&b=c",
                "user%5Bpassword%5D=REDACTED&b=c",
            ),
            (
                "Key { secret: [1, 2], id: 3 }",
                "Key { secret: [REDACTED], id: 3 }",
            ),
            (
                r#"\\\"token\\\":\\\"a b\\\","#,
                r#"\\\"token\\\":\\\"REDACTED\\\","#,
            ),
            (r#"password="a\\" b"#, r#"password="REDACTED" b"#),
            (
                r#"{\"password\":\"a\\\"b\",\"c\":1}"#,
                r#"{\"password\":\"REDACTED\",\"c\":1}"#,
            ),
            ("sent Bearer lowercaseonly", "sent Bearer REDACTED"),
            ("Cookie: a=b; c=d\r\nHost: x", "Cookie: REDACTED\r\nHost: x"),
            (r#"{"password":1234}"#, r#"{"password":REDACTED}"#),
            ("sent Bearer abc123def.x", "sent Bearer REDACTED"),
            ("basic dXNlcjpwYXNzd29yZA==", "basic REDACTED"),
            ("id eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln!", "id REDACTED!"),
            ("set-cookie: [b\"a=1\"]", "set-cookie: [b\"REDACTED\"]"),
        ] {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn other_text_is_not_redacted() {
        for text in [
            "",
            "call",
            "/users/{id}/orders",
            "http://[::1]:80/",
            "https://example.org:8080/a@b",
            "unexpected token: `}`",
            "Basic authentication failed",
            "Bearer token expired",
            "token == other",
            "tokens=5",
            "a: b = c",
            "12:34:56",
            "eyJ is how it begins",
            "mailto:ann@example.org",
            "Some(Ok(\"x\"))",
            "token=",
            "a token, \"b\"",
            "=",
            ":",
            "://",
            " J",
        ] {
            assert_eq!(redacted(text), text);
        }
    }

    #[test]
    fn a_possible_start_of_a_credential_at_a_truncation_is_redacted() {
        for (text, expected) in [
            ("see https://ann:sec", "see https://REDACTED"),
            ("id eyJhbGciOiJub2", "id REDACTED"),
            ("Bearer abc", "Bearer REDACTED"),
            ("password: \"ab", "password: \"REDACTED"),
            ("see https://example.org/a", "see https://example.org/a"),
        ] {
            assert_eq!(redacted_of(text, true), expected);
        }
    }

    #[test]
    fn lists_can_be_extended_and_disabled() {
        let mut clean = String::new();
        let none = Redaction::none();
        assert!(
            !none.redacts_field("password") && !none.redact_into("password=x", false, &mut clean)
        );
        let own = none.field("ssn").key("code");
        assert!(
            own.redacts_field("user.ssn")
                && !own.redacts_field("code")
                && !own.redacts_field("password")
        );
        assert!(own.redact_into("ssn=1&code=2", false, &mut clean));
        assert_eq!(clean, "ssn=REDACTED&code=REDACTED");
    }

    /// Ten times the text takes about ten times as long, and not a hundred times, for texts that are full of delimiters without
    /// credentials.
    #[test]
    fn redaction_takes_linear_time() {
        fn fastest_of_five(text: &str) -> Duration {
            let redact = |_| {
                let (mut clean, began) = (String::new(), Instant::now());
                Redaction::new().redact_into(text, false, &mut clean);
                began.elapsed()
            };
            (0..5).map(redact).min().unwrap()
        }
        for piece in [
            "://a:b/",
            "eyJ.",
            "a:",
            "= ",
            "token= ",
            "token,",
            "\\\"token\\\",",
            "Bearer ",
            "://",
            "token=\"\"",
            "'",
            "\\",
        ] {
            let long = piece.repeat(400_000 / piece.len());
            let short = piece.repeat(40_000 / piece.len());
            let [short, long] = [&short, &long].map(|text| fastest_of_five(text));
            assert!(long < 40 * short, "{piece}: {short:?} and {long:?}");
        }
    }

    /// Texts with a credential in the place of `*`.
    const TEMPLATES: [&str; 16] = [
        "(\"x-api-key\", \"*\"),",
        "{\"cookie\": [\"a\", \"*\", \"b\"]}",
        "\\\\\\\"secret\\\\\\\":\\\\\\\"a b*\\\\\\\"",
        "form[passphrase]=*&",
        "?access_token=*&",
        "authorization: Bearer *\n",
        "\"cookie\": \"*\"",
        "https://ann:*@example.org/",
        "https://*@example.org ",
        "password=*;",
        "Secret(password: Some(\"*\"))",
        "api-key=\"*\"",
        " Basic *=, ",
        "\\\"token\\\":\\\"*\\\"",
        "'pwd': '*'",
        " eyJh.*.* ",
    ];

    fn pieces() -> impl Strategy<Value = Vec<String>> {
        let harmless = prop_oneof![
            "[a-z /é😀]{0,8}",
            Just("x=1&".to_owned()),
            Just("a: b, ".to_owned())
        ];
        let template = prop::sample::select(TEMPLATES.to_vec()).prop_map(str::to_owned);
        prop::collection::vec(prop_oneof![harmless, template], 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-04
        #[test]
        fn no_credential_survives_and_other_text_does(pieces in pieces()) {
            let shape = pieces.concat();
            let clean = redacted(&shape.replace('*', "CANARY1x"));
            prop_assert!(!clean.contains("CANARY"), "{}", clean);
            // Harmless text is unchanged, even between credentials.
            let plain: String = pieces.iter().filter(|piece| !piece.contains('*')).map(String::as_str).collect();
            prop_assert_eq!(redacted(&plain), plain);
        }

        /// LG-04: wherever the text is truncated.
        #[test]
        fn no_part_of_a_credential_survives_a_truncation(pieces in pieces(), cut in any::<prop::sample::Index>()) {
            let text = pieces.concat().replace('*', "CANARY1x");
            let clean = redacted_of(prefix(&text, cut.index(text.len() + 1)), true);
            prop_assert!(!clean.contains("CA"), "{} of {}", clean, text);
        }

        #[test]
        fn redacting_twice_changes_nothing_more(text in "[=:J &\"'\\\\@/.;,(){}a-cé]{0,40}|(token|eyJ|://|[=: \"'\\\\a1é]){0,12}") {
            let once = redacted(&text);
            prop_assert_eq!(redacted(&once), once.clone());
        }
    }
}
