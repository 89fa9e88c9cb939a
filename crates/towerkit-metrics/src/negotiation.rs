//! Content negotiation between the two formats for Prometheus.

/// Returns true if the [`Accept`] header prefers OpenMetrics 1.0.0 over the Prometheus text format, or accepts both equally.
///
/// [`Accept`]: https://www.rfc-editor.org/rfc/rfc9110#name-accept
pub(crate) fn prefers_open_metrics<'a>(accept: impl IntoIterator<Item = &'a str>) -> bool {
    let ranges = accept.into_iter().flat_map(|value| value.split(','));
    let (mut open_metrics, mut text) = (0, 0);
    for range in ranges.filter_map(MediaRange::read) {
        match range.format {
            Format::OpenMetrics => open_metrics = range.weight.max(open_metrics),
            Format::Text => text = range.weight.max(text),
        }
    }
    open_metrics > 0 && open_metrics >= text
}

/// A media range of the header that includes one of the formats, with its weight in thousandths.
struct MediaRange {
    format: Format,
    weight: u16,
}

enum Format {
    OpenMetrics,
    Text,
}

impl MediaRange {
    /// Parses a media range; `None` if it includes neither format. Wildcards select the text format, which every scraper reads.
    fn read(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let (format, versions): (_, &[&str]) = match &*parts.next()?.to_ascii_lowercase() {
            "application/openmetrics-text" => (Format::OpenMetrics, &["1.0.0"]),
            "text/plain" | "text/*" | "*/*" => (Format::Text, &["0.0.4"]),
            _ => return None,
        };
        let mut weight = 1000;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match &*name.trim().to_ascii_lowercase() {
                "q" => weight = thousandths(value.trim())?,
                "version" if !versions.contains(&value.trim().trim_matches('"')) => return None,
                _ => {}
            }
        }
        Some(Self { format, weight })
    }
}

/// Parses a weight ([RFC 9110, section 12.4.2](https://www.rfc-editor.org/rfc/rfc9110#section-12.4.2)).
fn thousandths(weight: &str) -> Option<u16> {
    let weight: f32 = weight.parse().ok()?;
    // The rounding turns a weight below half a thousandth into 0; the grammar allows three digits.
    (0.0..=1.0)
        .contains(&weight)
        .then_some((weight * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(accept: &[&str]) -> bool {
        prefers_open_metrics(accept.iter().copied())
    }

    /// The headers that Prometheus 3 and Prometheus 2.42 send.
    #[test]
    fn the_header_of_prometheus_selects_open_metrics() {
        assert!(wants(&[
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
        ]));
        assert!(wants(&[
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        ]));
    }

    #[test]
    fn the_prometheus_text_format_is_the_default() {
        for accept in [
            &[][..],
            &["*/*"],
            &["text/html, */*;q=0.8"],
            &["text/plain;version=0.0.4"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;version=2.0.0"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=2"],
            &["application/openmetrics-text;q=NaN"],
            &["application/openmetrics-text;q="],
            &["application/openmetrics-textual"],
            &["application/openmetrics-text;q=0.4, text/plain;q=0.5"],
            &["application/openmetrics-text;q=0.4", "text/plain"],
            &["application/openmetrics-text;q=0.4, */*"],
            &["application/openmetrics-text;q=0.4, text/*;q=0.5"],
            &[";;,=,"],
        ] {
            assert!(!wants(accept), "{accept:?}");
        }
    }

    #[test]
    fn a_preference_for_open_metrics_is_honoured() {
        for accept in [
            &["application/openmetrics-text"][..],
            &["Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.001"],
            &["application/openmetrics-text;q=0.5, text/plain;q=0.5"],
            &["text/plain;version=1.0.0, application/openmetrics-text;q=0.1"],
            &["text/html", "application/openmetrics-text;version=1.0.0"],
        ] {
            assert!(wants(accept), "{accept:?}");
        }
    }
}
