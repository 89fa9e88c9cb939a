use std::sync::Arc;

use crate::{names::Names, secrets::next_secret};

/// What is never written: credentials, wherever they stand in an event.
///
/// In the place of a secret stands `REDACTED`. By default that is
///
/// - every field whose name is or ends with one of `authorization`, `cookie`, `password`, `passwd`, `passphrase`, `secret`, `token`,
///   `credential`, `credentials`, `api_key`, `apikey`, `access_key`, `secret_key` or `private_key`: so `http.header.set-cookie`,
///   `x-api-key` and `clientSecret` as well. Upper and lower case, and `-`, `_` and `.`, are one;
/// - inside of values, which may be text, errors or what `Debug` shows: what follows such a name, or `sig`, `signature` or `pwd`, and
///   `=` or `:`, as in queries, forms, headers, cookies, JSON and connection strings;
/// - the userinfo of a URL, all before the `@`;
/// - what follows `Bearer` or `Basic`, and JSON web tokens.
///
/// Nothing is decoded: a name that is spelt in percent escapes is not found. Booleans are written in any case.
///
/// ```
/// use towerkit_log::{Format, Redaction};
///
/// let redaction = Redaction::new().field("ssn").key("code");
/// let subscriber = towerkit_log::subscriber(Format::Json).redaction(redaction);
/// # let _ = subscriber;
/// ```
#[derive(Debug, Clone)]
pub struct Redaction(Option<Arc<Lists>>);

#[derive(Debug, Clone)]
struct Lists {
    fields: Names,
    keys: Names,
}

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
    /// Redacts what the list above says.
    #[must_use]
    pub fn new() -> Self {
        FIELDS.iter().fold(
            KEYS.iter().fold(Self::none(), |all, key| all.key(key)),
            |all, field| all.field(field),
        )
    }

    /// Redacts nothing.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// Redacts fields of this name as well, and what follows it inside of values.
    #[must_use]
    pub fn field(mut self, name: &str) -> Self {
        self.lists().fields.add(name);
        self.key(name)
    }

    /// Redacts what follows this name inside of values as well, but no field.
    #[must_use]
    pub fn key(mut self, name: &str) -> Self {
        self.lists().keys.add(name);
        self
    }

    fn lists(&mut self) -> &mut Lists {
        let lists = self.0.get_or_insert_with(|| {
            Arc::new(Lists {
                fields: Names::default(),
                keys: Names::default(),
            })
        });
        Arc::make_mut(lists)
    }

    /// Whether the value of a field is a secret.
    #[inline]
    pub(crate) fn hides(&self, name: &str) -> bool {
        let lists = self.0.as_ref();
        lists.is_some_and(|lists| lists.fields.contain(name.as_bytes()))
    }

    /// Appends `text` without its secrets to `clean`, and returns true; if it has none, nothing is done.
    ///
    /// The text may be the beginning of a longer one: then what could be the beginning of a secret at its end is one.
    pub(crate) fn clean(&self, text: &str, is_cut: bool, clean: &mut String) -> bool {
        let Some(lists) = &self.0 else { return false };
        let mut from = 0;
        while let Some(secret) = next_secret(&lists.keys, text, from, is_cut) {
            clean.push_str(&text[from..secret.start]);
            clean.push_str(REDACTED);
            from = secret.end;
        }
        if from > 0 {
            clean.push_str(&text[from..]);
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
    use proptest::prelude::*;

    use super::*;
    use crate::caps::beginning;

    fn redacted(text: &str) -> String {
        redacted_of(text, false)
    }

    fn redacted_of(text: &str, is_cut: bool) -> String {
        let mut clean = String::new();
        if !Redaction::new().clean(text, is_cut, &mut clean) {
            assert_eq!(clean, "");
            clean.push_str(text);
        }
        clean
    }

    /// LG-04
    #[test]
    fn secrets_are_redacted_inside_of_values() {
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
    fn what_is_no_secret_stays() {
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
    fn what_may_be_the_beginning_of_a_secret_at_a_cut_is_one() {
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
    fn lists_can_be_added_to_and_turned_off() {
        let mut clean = String::new();
        let none = Redaction::none();
        assert!(!none.hides("password") && !none.clean("password=x", false, &mut clean));
        let own = none.field("ssn").key("code");
        assert!(own.hides("user.ssn") && !own.hides("code") && !own.hides("password"));
        assert!(own.clean("ssn=1&code=2", false, &mut clean));
        assert_eq!(clean, "ssn=REDACTED&code=REDACTED");
    }

    /// A text in which every sign is looked at, and none is that of a secret, costs no more than in proportion to its length.
    #[test]
    fn a_long_text_takes_no_longer_than_its_length() {
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
            let text = piece.repeat(400_000 / piece.len());
            let began = std::time::Instant::now();
            let mut clean = String::new();
            Redaction::new().clean(&text, false, &mut clean);
            assert!(began.elapsed().as_secs() < 5, "{piece}");
        }
    }

    /// Something that holds a secret, in which `*` stands for it.
    const HOLDERS: [&str; 16] = [
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
        let holder = prop::sample::select(HOLDERS.to_vec()).prop_map(str::to_owned);
        prop::collection::vec(prop_oneof![harmless, holder], 0..8)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-04
        #[test]
        fn no_secret_survives_and_the_rest_does(pieces in pieces()) {
            let shape = pieces.concat();
            let clean = redacted(&shape.replace('*', "CANARY1x"));
            prop_assert!(!clean.contains("CANARY"), "{}", clean);
            // What is harmless comes out as it went in, wherever it stands between others.
            let plain: String = pieces.iter().filter(|piece| !piece.contains('*')).map(String::as_str).collect();
            prop_assert_eq!(redacted(&plain), plain);
        }

        /// LG-04: wherever it is cut.
        #[test]
        fn no_part_of_a_secret_survives_a_cut(pieces in pieces(), cut in any::<prop::sample::Index>()) {
            let text = pieces.concat().replace('*', "CANARY1x");
            let clean = redacted_of(beginning(&text, cut.index(text.len() + 1)), true);
            prop_assert!(!clean.contains("CA"), "{} of {}", clean, text);
        }

        #[test]
        fn any_text_is_redacted_once_for_all(text in "[=:J &\"'\\\\@/.;,(){}a-cé]{0,40}|(token|eyJ|://|[=: \"'\\\\a1é]){0,12}") {
            let once = redacted(&text);
            prop_assert_eq!(redacted(&once), once.clone());
        }
    }
}
