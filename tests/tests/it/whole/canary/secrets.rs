//! One secret, in every place where a request or a setting may have one.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

/// In no spelling is it a part of a larger word.
pub(crate) const CANARY: &str = "Canary7Bird";
const JWT: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJDYW5hcnk3QmlyZCJ9.Q2FuYXJ5N0JpcmQ";

/// What no output may contain: the secret as it is, and encoded.
pub(crate) fn needles() -> Vec<String> {
    let jwt = JWT.split('.').skip(1).map(str::to_owned);
    let basic = [basic()].into_iter();
    jwt.chain(basic).chain([CANARY.to_owned()]).collect()
}

fn basic() -> String {
    STANDARD.encode(format!("ann:{CANARY}"))
}

/// The query of a URL.
pub(crate) fn query() -> String {
    format!("page=2&token={CANARY}&sig={CANARY}&access_token={CANARY}&api_key={CANARY}")
}

/// The fields of a request, each with its secret.
pub(crate) fn fields(authorization: usize) -> HeaderMap {
    let authorization = match authorization % 3 {
        0 => format!("Bearer {CANARY}"),
        1 => format!("Basic {}", basic()),
        _ => format!("Bearer {JWT}"),
    };
    let basic = format!("Basic {}", basic());
    let cookie = format!("theme=dark; session={CANARY}");
    let baggage = format!("user={CANARY}");
    let note = format!("{}/?{}", url("https", "example.org"), query());
    let fields = [
        ("authorization", &*authorization),
        ("proxy-authorization", &basic),
        ("cookie", &cookie),
        ("x-api-key", CANARY),
        ("baggage", &baggage),
        ("accept", "text/plain"),
        ("x-note", &note),
    ];
    let fields = fields.into_iter();
    fields
        .map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        })
        .collect()
}

/// What a server answers a login with.
pub(crate) fn cookie() -> (HeaderName, String) {
    (
        http::header::SET_COOKIE,
        format!("session={CANARY}; HttpOnly"),
    )
}

/// URLs with a secret before the host.
pub(crate) fn url(scheme: &str, host: &str) -> String {
    format!("{scheme}://ann:{CANARY}@{host}")
}

/// Everything that was put out, by name, in which the secret is sought.
#[derive(Default)]
pub(crate) struct Outputs(Vec<(String, String)>);

impl Outputs {
    pub(crate) fn add(&mut self, name: impl Into<String>, text: impl Into<String>) {
        self.0.push((name.into(), text.into()));
    }

    pub(crate) fn debug(&mut self, name: &str, value: &dyn std::fmt::Debug) {
        self.add(name, format!("{value:?} {value:#?}"));
    }

    pub(crate) fn error(&mut self, name: &str, error: &(dyn std::error::Error + 'static)) {
        let chain = std::iter::successors(Some(error), |error| error.source());
        let texts: Vec<_> = chain.map(|error| format!("{error} {error:?}")).collect();
        self.add(name, texts.join(" "));
    }

    /// Fails with each place in which the secret is found.
    pub(crate) fn check(&self) {
        let mut found = String::new();
        for (name, text) in &self.0 {
            assert!(!text.is_empty(), "{name} is empty");
            for needle in needles() {
                if let Some(at) = text.find(&needle) {
                    let around = text
                        .char_indices()
                        .filter(|(index, _)| index.abs_diff(at) < 160);
                    let around: String = around.map(|(_, c)| c).collect();
                    found += &format!("\n{name}: ..{around}..");
                }
            }
        }
        assert!(found.is_empty(), "{found}");
    }
}
