//! Text of callers as spans record it: truncated, and without parts that look like secrets.

/// The longest text that is shown of a header, a path or a query, in bytes.
pub(crate) const LONGEST: usize = 256;

/// Stands in the place of a secret.
pub(crate) const REDACTED: &str = "REDACTED";

/// Returns the first `most` bytes of a text, or a few less.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=text.len().min(most))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Returns true if a value looks like credentials, a signed token, or a URL with either.
pub(crate) fn has_secret(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let schemes = ["basic ", "bearer ", "digest ", "negotiate "];
    let named = [
        "token=",
        "sig=",
        "signature=",
        "secret=",
        "password=",
        "passwd=",
        "session=",
        "sessionid=",
        "key=",
    ];
    let has_userinfo = text.contains("://") && text.contains('@');
    let is_signed = text.contains("eyj") && text.matches('.').count() >= 2;
    has_userinfo
        || is_signed
        || schemes
            .into_iter()
            .chain(named)
            .any(|sign| text.contains(sign))
}
