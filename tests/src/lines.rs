//! LG-01, LG-02, LG-03, LG-08, LG-09: whatever is logged is one line, which reads back.

use towerkit_log::{Format, LengthLimits, Redaction, line_of, subscriber};
use tracing::{Dispatch, dispatcher::with_default, info, info_span};

use crate::{Page, read_json, read_logfmt};

/// A line as short as a line may be capped.
const SHORT: usize = 1024;
const SHORT_VALUE: usize = 50;

/// Logs text that the bytes hold, in logfmt. The bytes `0xff` part the value, the message and the value of a span.
///
/// # Panics
///
/// If what is written is not one harmless line that reads back.
pub fn logfmt(data: &[u8]) {
    thread_local!(static LOG: Log = Log::new(Format::Logfmt));
    let names = ["ab", "cd", "_", "level_2"];
    let pairs = |line: &str| read_logfmt(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    LOG.with(|log| check(log, data, names, pairs));
    let is_kept = |c: &char| *c > ' ' && !['=', '"', '\u{fffd}'].contains(c) && is_harmless(*c);
    check_name(Format::Logfmt, data, pairs, |name| {
        let name: String = name.chars().filter(is_kept).collect();
        if name.is_empty() {
            "_".to_owned()
        } else {
            name
        }
    });
}

/// The same in JSON.
///
/// # Panics
///
/// If what is written is not one harmless line that reads back.
pub fn json(data: &[u8]) {
    thread_local!(static LOG: Log = Log::new(Format::Json));
    let names = ["a b", "c=\"d\r\n", "", "level_2"];
    let pairs = |line: &str| {
        let pairs = read_json(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let text = |value: serde_json::Value| match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        let pairs = pairs.into_iter();
        pairs.map(|(name, value)| (name, text(value))).collect()
    };
    LOG.with(|log| check(log, data, names, pairs));
    check_name(Format::Json, data, pairs, str::to_owned);
}

/// A field of any name is one line, of one pair.
fn check_name(
    format: Format,
    data: &[u8],
    pairs: impl Fn(&str) -> Vec<(String, String)>,
    spelt: impl Fn(&str) -> String,
) {
    let (name, value) = data.split_at(data.len() / 2);
    let name = String::from_utf8_lossy(name);
    let line = String::from_utf8(line_of(format, &name, value)).expect("lines are UTF-8");
    let line = line.strip_suffix('\n').expect("a whole line");
    assert!(line.chars().all(is_harmless), "{line:?}");
    let read = pairs(line);
    assert_eq!(read.len(), 1, "{line}");
    assert_eq!(read[0].0, spelt(&name), "{line}");
    let (shown, value) = (&read[0].1, String::from_utf8_lossy(value));
    assert!(*shown == value || shown.contains("REDACTED"), "{line}");
}

struct Log {
    page: Page,
    /// Shows all there is.
    whole: Dispatch,
    /// Redacts and cuts.
    short: Dispatch,
}

impl Log {
    fn new(format: Format) -> Self {
        let page = Page::default();
        let to = |page: &Page| {
            let page = page.clone();
            subscriber(format).writer(move || page.clone()).spans()
        };
        let all = LengthLimits::new().value(usize::MAX).line(1 << 30);
        let few = LengthLimits::new().value(SHORT_VALUE).line(SHORT);
        Self {
            whole: to(&page)
                .redaction(Redaction::none())
                .length_limits(all)
                .dispatch(),
            short: to(&page).length_limits(few).dispatch(),
            page,
        }
    }

    /// What one event becomes, without the line feed.
    fn line(&self, dispatch: &Dispatch, log: impl FnOnce()) -> String {
        with_default(dispatch, log);
        let written = self.page.take();
        let line = written.strip_suffix('\n').expect("a whole line");
        assert!(line.chars().all(is_harmless), "{line:?}");
        line.to_owned()
    }
}

fn check(log: &Log, data: &[u8], spelt: [&str; 4], pairs: impl Fn(&str) -> Vec<(String, String)>) {
    let mut parts = data
        .split(|byte| *byte == 0xff)
        .map(String::from_utf8_lossy);
    let mut part = || parts.next().unwrap_or_default();
    let (text, message, around) = (&*part(), part(), part());
    let float = float(data);
    let event = || {
        info_span!("span", around = &*around).in_scope(|| {
            info!({
                text, shown = %text, debug = ?text, bytes = data, float,
                "a b" = text, "c=\"d\r\n" = 2, "" = 3, level = text,
            }, "{message}");
        });
    };
    let line = log.line(&log.whole, event);
    let read = pairs(&line);
    let head = ["ts", "level", "target", "msg"].into_iter();
    let own = ["text", "shown", "debug", "bytes", "float"];
    let names = head.chain(own).chain(spelt).chain(["around"]);
    assert!(read.iter().map(|pair| pair.0.as_str()).eq(names), "{line}");
    let debug = format!("{text:?}");
    let bytes = String::from_utf8_lossy(data);
    let values = [&*message, text, text, &debug, &bytes].into_iter();
    let read_values = read[3..8].iter().map(|pair| pair.1.as_str());
    assert!(read_values.eq(values), "{line}");
    let number: f64 = read[8].1.parse().expect("a number");
    assert!(
        number == float || number.is_nan() && float.is_nan(),
        "{line}"
    );
    let rest = read[9..].iter().map(|pair| pair.1.as_str());
    assert!(rest.eq([text, "2", "3", text, &around]), "{line}");

    let line = log.line(&log.short, event);
    assert!(line.len() < SHORT, "{} bytes", line.len());
    assert!(pairs(&line).len() >= 4, "{line}");
}

fn float(data: &[u8]) -> f64 {
    let mut bits = [0; 8];
    bits.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    f64::from_bits(u64::from_be_bytes(bits))
}

/// LG-03: neither a control, nor what ends a line or turns it around.
fn is_harmless(c: char) -> bool {
    let ends = matches!(c, '\u{2028}' | '\u{2029}');
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !ends && !turns
}
