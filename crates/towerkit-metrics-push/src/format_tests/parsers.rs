//! Parsers of the formats, after Etsy's statsd 0.9, the documentation of Datadog, Telegraf, carbon 1.1 and InfluxDB 1.6. They share no
//! code with the writers.

use std::collections::BTreeMap;

#[derive(Debug, PartialEq)]
pub(super) struct Point {
    pub(super) name: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) values: Vec<(String, f64)>,
}

type Tags = BTreeMap<String, String>;

/// Parses a line of statsd or DogStatsD.
pub(super) fn statsd(line: &str) -> Result<Point, String> {
    let (rest, tags) = match line.split_once("|#") {
        Some((rest, tags)) => (rest, tags.split(',').map(|tag| pair(tag, ':')).collect()),
        None => (line, Ok(Tags::new())),
    };
    let (name, value) = rest.split_once(':').ok_or("no value")?;
    Ok(Point {
        name: known(name)?,
        tags: tags?,
        values: vec![typed(value)?],
    })
}

/// Parses a line of statsd with the tags of InfluxDB.
pub(super) fn telegraf(line: &str) -> Result<Point, String> {
    let (key, value) = line.split_once(':').ok_or("no value")?;
    let mut parts = key.split(',');
    let name = known(parts.next().unwrap_or_default())?;
    let tags: Result<Tags, String> = parts.map(|tag| pair(tag, '=')).collect();
    Ok(Point {
        name,
        tags: tags?,
        values: vec![typed(value)?],
    })
}

/// Parses a line as carbon does. Python splits at all white space of Unicode.
pub(super) fn carbon(line: &str) -> Result<Point, String> {
    let white = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let words: Vec<&str> = line.split(white).filter(|word| !word.is_empty()).collect();
    let [path, value, time] = words[..] else {
        return Err(format!("{} words", words.len()));
    };
    if time != "1700000000" {
        return Err(format!("time {time}"));
    }
    if path.ends_with("\"}") && path.contains('{') {
        return Err("a line of OpenMetrics".into());
    }
    let mut parts = path.split(';');
    let name = known(parts.next().unwrap_or_default())?;
    let mut tags = Tags::new();
    for part in parts {
        let (tag, value) = part.split_once('=').ok_or("no tag")?;
        let bad = tag.is_empty() || tag.contains(['!', '^', '=']) || tag == "name";
        if bad || value.is_empty() || value.starts_with('~') {
            return Err(format!("tag {tag} {value}"));
        }
        if tags.insert(tag.into(), value.into()).is_some() {
            return Err(format!("tag {tag} twice"));
        }
    }
    let value = number(value)?;
    Ok(Point {
        name,
        tags,
        values: vec![(String::new(), value)],
    })
}

/// Parses a line of InfluxDB's protocol.
pub(super) fn influx(line: &str) -> Result<Point, String> {
    let mut chars = line.chars().peekable();
    let (name, mut end) = token(&mut chars, &[',', ' ']);
    let mut tags = Tags::new();
    let mut last = String::new();
    while end == Some(',') {
        let (tag, is) = token(&mut chars, &['=', ',', ' ']);
        let (value, next) = token(&mut chars, &[',', ' ', '=']);
        if is != Some('=') || next == Some('=') || tag.is_empty() || value.is_empty() {
            return Err(format!("tag {tag:?} {value:?}"));
        }
        if tag <= last || ["time", "_field", "_measurement"].contains(&tag.as_str()) {
            return Err(format!("tag {tag} after {last}"));
        }
        last.clone_from(&tag);
        tags.insert(tag, value);
        end = next;
    }
    let rest: String = chars.collect();
    let (fields, time) = rest.split_once(' ').ok_or("no time")?;
    if end != Some(' ') || time != "1700000000000000005" {
        return Err(format!("time {time}"));
    }
    let field = |field: &str| {
        let (name, value) = field.split_once('=').ok_or("no field")?;
        Ok((name.to_owned(), number(value)?))
    };
    let values: Result<_, String> = fields.split(',').map(field).collect();
    Ok(Point {
        name: known(&name)?,
        tags,
        values: values?,
    })
}

/// Reads up to one of the characters `ends` that is not escaped; returns the text and the character.
fn token(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    ends: &[char],
) -> (String, Option<char>) {
    let mut text = String::new();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek().is_some_and(|c| [',', ' ', '='].contains(c)) => {
                text.extend(chars.next());
            }
            c if ends.contains(&c) => return (text, Some(c)),
            c => text.push(c),
        }
    }
    (text, None)
}

fn pair(tag: &str, is: char) -> Result<(String, String), String> {
    let (name, value) = tag.split_once(is).ok_or_else(|| format!("tag {tag:?}"))?;
    if name.is_empty() || value.is_empty() || value.contains(is) {
        return Err(format!("tag {tag:?}"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// Parses `value|type` and a sample rate.
fn typed(text: &str) -> Result<(String, f64), String> {
    let fields: Vec<&str> = text.split('|').collect();
    let (value, kind) = match fields[..] {
        [value, kind] => (number(value)?, kind),
        [value, kind, rate] => {
            let rate = rate.strip_prefix('@').ok_or("no rate")?;
            if !rate.chars().all(|c| c.is_ascii_digit() || c == '.') {
                return Err(format!("rate {rate}"));
            }
            (number(value)? / number(rate)?, kind)
        }
        _ => return Err(format!("{} fields", fields.len())),
    };
    if !["c", "g", "ms", "h"].contains(&kind) {
        return Err(format!("type {kind}"));
    }
    Ok((kind.to_owned(), value))
}

fn number(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err(format!("number {text:?}")),
    }
}

fn known(name: &str) -> Result<String, String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(is_known) {
        return Err(format!("name {name:?}"));
    }
    Ok(name.to_owned())
}
