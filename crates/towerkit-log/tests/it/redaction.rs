//! Redaction and length limits, as the reader of a log sees them.

use std::{error::Error, fmt};

use http::{HeaderMap, HeaderValue, Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_core::{BoxError, LayerExt};
use towerkit_http::Http;
use towerkit_log::{Format, LengthLimits, LogLayer, Redaction, subscriber};
use towerkit_test::run_paused;
use tracing::{field::Empty, info, info_span};

use crate::{
    page::{written, written_by},
    read::pairs,
};

const FORMATS: [Format; 2] = [Format::Logfmt, Format::Json];

fn field(format: Format, line: &str, name: &str) -> String {
    let mut pairs = pairs(format, line.trim_end()).into_iter();
    let found = pairs.find(|pair| pair.0 == name);
    found.unwrap_or_else(|| panic!("no {name} in {line}")).1
}

/// In no spelling is it a part of a larger word.
const CANARY: &str = "Canary7Secret";

#[derive(Debug)]
struct Login {
    #[expect(dead_code, reason = "shown by Debug")]
    user: &'static str,
    #[expect(dead_code, reason = "shown by Debug")]
    password: Option<String>,
}

#[derive(Debug)]
struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not reach {}", self.0)
    }
}

impl Error for Failed {}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
    ] {
        headers.insert(
            name,
            HeaderValue::from_str(&format!("Bearer {CANARY}; a={CANARY}, b")).unwrap(),
        );
    }
    headers.insert("accept", HeaderValue::from_static("text/plain"));
    headers
}

/// Logs the canary in every place where a secret may stand.
fn log_secrets() {
    let url = format!(
        "https://ann:{CANARY}@example.org/a?x=1&token={CANARY}&sig={CANARY}&y=2#id_token={CANARY}"
    );
    let jwt = format!("eyJhbGciOiJub25lIn0.eyJ{CANARY}.{CANARY}");
    let request = Request::get("/a?access_token=".to_owned() + CANARY)
        .body(())
        .unwrap();
    let login = Login {
        user: "ann",
        password: Some(format!("{CANARY} \"{CANARY}\" ")),
    };
    let span = info_span!("span", authorization = CANARY, url, user_password = Empty);
    span.record("user_password", CANARY);
    let _span = span.entered();
    info!(
        authorization = format!("Bearer {CANARY}"),
        cookie = ?format!("a={CANARY}"),
        "set-cookie" = %CANARY,
        proxy_authorization = CANARY,
        "http.request.header.x-api-key" = CANARY,
        password = ?Some(CANARY),
        token = CANARY.as_bytes(),
        secret = 1234567,
        pin_secret = 12.5,
        client_secret = -1234567_i128,
        url, jwt,
        "to {url} with {jwt}",
    );
    info!(headers = ?headers(), basic = format!("Basic {CANARY}="), uri = %request.uri(), request = ?request, ?login);
    let failed = Failed(url.clone());
    info!(
        error = &failed as &(dyn Error + 'static),
        form = format!("user=ann&password={CANARY}"),
        bytes = url.as_bytes()
    );
    info!(json = %format!(r#"{{"user":"ann","password":"{CANARY}","n":1}}"#), nested = ?format!(r#"{{"apiKey":"{CANARY}"}}"#));
}

/// LG-04
#[test]
fn no_credential_is_written() {
    for format in FORMATS {
        let text = written(format, true, log_secrets);
        assert_eq!(text.lines().count(), 4);
        for part in [CANARY, "Canary7", "1234567", "12.5"] {
            assert!(!text.contains(part), "{part} in {text}");
        }
        // Other text is unchanged.
        for kept in [
            "x=1&token=REDACTED&sig=REDACTED&y=2",
            "https://REDACTED@example.org/a",
            "text/plain",
            "could not reach",
            "ann",
        ] {
            assert!(text.contains(kept), "no {kept} in {text}");
        }
        let first = text.lines().next().unwrap();
        for name in [
            "authorization",
            "set-cookie",
            "secret",
            "pin_secret",
            "client_secret",
            "token",
            "jwt",
            "user_password",
        ] {
            assert_eq!(field(format, first, name), "REDACTED");
        }
    }
}

/// LG-04: a call logs only the documented parts of its request.
#[test]
fn a_call_logs_no_credential_of_its_request() {
    for format in FORMATS {
        let text = written(format, false, || {
            let protocol = Http::new().operation(|head| head.uri.path());
            let service =
                LogLayer::new()
                    .protocol(protocol)
                    .layer(service_fn(|_: Request<String>| async {
                        let mut response = Response::new(format!("{CANARY} in a body"));
                        *response.headers_mut() = headers();
                        Ok::<_, BoxError>(response)
                    }));
            let uri =
                format!("http://ann:{CANARY}@example.org/reset/token={CANARY}?password={CANARY}");
            let mut request = Request::post(uri).body(CANARY.to_owned()).unwrap();
            *request.headers_mut() = headers();
            run_paused(service.oneshot(request)).unwrap();
        });
        assert!(!text.contains(CANARY), "{text}");
        assert_eq!(field(format, &text, "operation"), "/reset/token=REDACTED");
    }
}

#[test]
fn the_redaction_is_configurable() {
    let own = Redaction::new().field("ssn").key("code");
    for (redaction, expected) in [
        (own, ["REDACTED", "REDACTED", "code=REDACTED"]),
        (Redaction::none(), ["123", "secret", "code=5"]),
        (
            Redaction::none().field("ssn"),
            ["REDACTED", "secret", "code=5"],
        ),
    ] {
        let dispatch = |writer| {
            subscriber(Format::Json)
                .redaction(redaction)
                .writer(writer)
                .dispatch()
        };
        let line = written_by(dispatch, || {
            info!(ssn = 123, password = "secret", code = 1, url = "code=5");
        });
        let values = ["ssn", "password", "url"].map(|name| field(Format::Json, &line, name));
        assert_eq!(values, expected);
        assert_eq!(field(Format::Json, &line, "code"), "1", "a key is no field");
    }
}

#[test]
fn a_boolean_is_not_redacted() {
    let line = written(Format::Json, false, || info!(token = true));
    assert_eq!(field(Format::Json, &line, "token"), "true");
}

/// LG-08
#[test]
fn a_long_value_is_truncated_at_a_character_with_a_mark() {
    let long = "é".repeat(5 << 20);
    for format in FORMATS {
        let caps = LengthLimits::new().line(100 * 1024);
        let dispatch = |writer| {
            subscriber(format)
                .length_limits(caps)
                .writer(writer)
                .dispatch()
        };
        let text = written_by(dispatch, || {
            info!(text = long, shown = %long, debug = ?long, bytes = long.as_bytes(), after = 1, "{long}");
        });
        assert!(text.len() <= 100 * 1024, "{}", text.len());
        let cut = format!("{}...[+{} bytes]", "é".repeat(8192), long.len() - 16_384);
        for name in ["msg", "text", "shown", "bytes"] {
            assert!(field(format, &text, name) == cut, "{name}");
        }
        // The quote is a byte of it.
        let debug = field(format, &text, "debug");
        assert!(
            debug.ends_with(&format!("é...[+{} bytes]", long.len() + 2 - 16_383)),
            "{debug}"
        );
        assert_eq!(field(format, &text, "after"), "1");
    }
}

/// LG-04, LG-08: a secret that is cut is still one.
#[test]
fn a_truncation_shows_no_part_of_a_credential() {
    let dispatch = |writer| {
        subscriber(Format::Json)
            .length_limits(LengthLimits::new().value(24))
            .writer(writer)
            .dispatch()
    };
    let text = format!("https://ann:{}@example.org/", "Canary7".repeat(10));
    let line = written_by(dispatch, || info!(shown = %text, text));
    assert!(!line.contains("Canary"), "{line}");
    assert_eq!(
        field(Format::Json, &line, "text"),
        format!("https://REDACTED...[+{} bytes]", text.len() - 24)
    );
}

/// LG-08: also where escapes make six bytes of one.
#[test]
fn a_long_line_reports_the_number_of_omitted_fields() {
    let long = "\u{1}".repeat(900);
    for format in FORMATS {
        for line in [0, 2048, 5000, 20_000] {
            let dispatch = |writer| {
                subscriber(format)
                    .length_limits(LengthLimits::new().line(line))
                    .writer(writer)
                    .dispatch()
            };
            let text = written_by(dispatch, || {
                info!(a = long, b = 1, c = long, d = long, e = "end", "begin");
            });
            assert!(text.len() <= line.max(1024), "{} > {line}", text.len());
            let long_ones = pairs(format, text.trim_end())
                .iter()
                .filter(|pair| pair.1 == long)
                .count();
            assert_eq!(long_ones, (line.max(1024) - 200) / 5420, "{text}");
            assert_eq!(field(format, &text, "b"), "1");
            assert_eq!(field(format, &text, "e"), "end");
            if long_ones < 3 {
                assert_eq!(
                    field(format, &text, "fields_left_out"),
                    (3 - long_ones).to_string()
                );
            }
        }
    }
}

/// LG-08: wherever the cap falls.
#[test]
fn no_line_is_longer_than_its_limit() {
    let long = "\u{1}".repeat(40);
    for format in FORMATS {
        for line in (1024..2500).step_by(7) {
            let caps = LengthLimits::new().line(line);
            let dispatch = |writer| {
                subscriber(format)
                    .length_limits(caps)
                    .writer(writer)
                    .dispatch()
            };
            let text = written_by(dispatch, || {
                info!(
                    a = long,
                    b = long,
                    c = long,
                    d = long,
                    e = long,
                    f = long,
                    g = long
                );
                info!(
                    a = long,
                    b = long,
                    c = long,
                    d = 1,
                    e = 1,
                    f = long,
                    g = 1,
                    h = 1,
                    i = 1
                );
            });
            let longest = text.split_inclusive('\n').map(str::len).max().unwrap();
            assert!(
                longest <= line && longest + 320 > line.min(1700),
                "{longest} of {line}"
            );
        }
    }
}

/// LG-08: 10,000 keys.
#[test]
fn the_number_of_fields_is_limited() {
    fn inside(depth: usize, log: &dyn Fn()) {
        if depth == 0 {
            return log();
        }
        let _span = info_span!(
            "span",
            a = depth,
            b = 1,
            c = 1,
            d = 1,
            e = 1,
            f = 1,
            g = 1,
            h = 1,
            i = 1,
            j = 1,
            k = 1,
            l = 1,
            m = 1,
            n = 1,
            o = 1,
            p = 1,
            q = 1,
            r = 1,
            s = 1,
            t = 1
        )
        .entered();
        inside(depth - 1, log);
    }
    for format in FORMATS {
        let text = written(format, true, || inside(500, &|| info!("deep")));
        let pairs = pairs(format, text.trim_end());
        assert_eq!(pairs.len(), 129);
        assert_eq!(
            pairs[128],
            ("fields_left_out".to_owned(), (10_000 - 124).to_string())
        );
        let dispatch = |writer| {
            subscriber(format)
                .length_limits(LengthLimits::new().fields(0))
                .writer(writer)
                .dispatch()
        };
        let text = written_by(dispatch, || info!(a = 1, "some"));
        assert!(text.contains("some") && !text.contains("a="), "{text}");
    }
}
