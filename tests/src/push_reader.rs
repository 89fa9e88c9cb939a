//! Readers of the line protocols, as strict as the strictest receiver.

/// What a line says.
#[derive(Debug, Default)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
    pub(crate) tags: Vec<(String, String)>,
}

type Read = Result<Point, String>;

/// `name:value|kind[|@rate]`
pub(crate) fn read_statsd(line: &str) -> Read {
    let (name, rest) = line.split_once(':').ok_or("no colon")?;
    let values = vec![sample(rest)?];
    Ok(Point {
        name: path(name)?,
        values,
        tags: Vec::new(),
    })
}

/// `name:value|kind[|@rate][|#tag:value,…]`
pub(crate) fn read_dogstatsd(line: &str) -> Read {
    let (head, tags) = match line.split_once("|#") {
        Some((head, tags)) => (head, split_tags(tags, ':')?),
        None => (line, Vec::new()),
    };
    Ok(Point {
        tags,
        ..read_statsd(head)?
    })
}

/// `name[,tag=value…]:value|kind[|@rate]`
pub(crate) fn read_influx_statsd(line: &str) -> Read {
    let (series, rest) = line.split_once(':').ok_or("no colon")?;
    let (name, tags) = match series.split_once(',') {
        Some((name, tags)) => (name, split_tags(tags, '=')?),
        None => (series, Vec::new()),
    };
    let values = vec![sample(rest)?];
    Ok(Point {
        name: path(name)?,
        values,
        tags,
    })
}

/// `name[;tag=value…] value seconds`
pub(crate) fn read_graphite(line: &str) -> Read {
    let words: Vec<_> = line.split(char::is_whitespace).collect();
    let [series, value, seconds] = words[..] else {
        return Err("not three words".to_owned());
    };
    seconds.parse::<u64>().map_err(|_| "no time")?;
    let mut parts = series.split(';');
    let name = path(parts.next().unwrap_or_default())?;
    let tag = |part: &str| {
        let (name, value) = part.split_once('=').ok_or("a tag without a value")?;
        let is_tag = !name.is_empty() && !value.is_empty() && !value.starts_with('~');
        let is_tag = is_tag && !name.contains(['!', '^']) && name != "name";
        is_tag
            .then(|| (name.to_owned(), value.to_owned()))
            .ok_or("a bad tag".to_owned())
    };
    let tags = parts.map(tag).collect::<Result<_, String>>()?;
    Ok(Point {
        name,
        values: vec![number(value)?],
        tags,
    })
}

/// `name[,tag=value…] field=value[,field=value…] nanoseconds`, where a backslash takes the meaning from what follows it.
pub(crate) fn read_influx(line: &str) -> Read {
    let mut words = split_unescaped(line, ' ');
    let (Some(time), Some(fields), Some(series)) = (words.pop(), words.pop(), words.pop()) else {
        return Err("not three words".to_owned());
    };
    if !words.is_empty() || line.chars().any(char::is_control) {
        return Err("more than three words, or a control".to_owned());
    }
    time.parse::<u64>().map_err(|_| "no time")?;
    let mut parts = split_unescaped(&series, ',').into_iter();
    let name = parts.next().unwrap_or_default();
    let tags = parts.map(|part| match &split_unescaped(&part, '=')[..] {
        [name, value] if !name.is_empty() && !value.is_empty() => Ok((plain(name)?, plain(value)?)),
        _ => Err("a bad tag".to_owned()),
    });
    let tags = tags.collect::<Result<Vec<_>, String>>()?;
    if tags
        .iter()
        .any(|(name, _)| ["time", "_field", "_measurement"].contains(&name.as_str()))
    {
        return Err("a tag of InfluxDB's own".to_owned());
    }
    let values = fields.split(',').map(|field| {
        let (_, value) = field.split_once('=').ok_or("a field without a value")?;
        number(value)
    });
    let values = values.collect::<Result<_, String>>()?;
    Ok(Point {
        name: path(&plain(&name)?)?,
        values,
        tags,
    })
}

fn path(name: &str) -> Result<String, String> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_good = !name.is_empty() && name.chars().all(is_path);
    is_good
        .then(|| name.to_owned())
        .ok_or_else(|| format!("not a name: {name}"))
}

fn number(text: &str) -> Result<f64, String> {
    let is_number = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
    let number = text.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| format!("not a number: {text}"))
}

/// `value|kind[|@rate]`
fn sample(text: &str) -> Result<f64, String> {
    let parts: Vec<_> = text.split('|').collect();
    let ([value, kind] | [value, kind, _]) = parts[..] else {
        return Err(format!("not a sample: {text}"));
    };
    if !["c", "g", "ms", "h"].contains(&kind) {
        return Err(format!("no such kind: {kind}"));
    }
    if let Some(rate) = parts.get(2) {
        let rate = number(rate.strip_prefix('@').ok_or("no rate")?)?;
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(format!("no such rate: {rate}"));
        }
    }
    number(value)
}

fn split_tags(text: &str, is: char) -> Result<Vec<(String, String)>, String> {
    let tag = |part: &str| {
        let (name, value) = part.split_once(is).ok_or("a tag without a value")?;
        let is_word = |c: char| !c.is_whitespace() && !c.is_control() && !"|#:,=@".contains(c);
        let is_tag = !name.is_empty() && !value.is_empty();
        let is_tag = is_tag && name.chars().chain(value.chars()).all(is_word);
        is_tag
            .then(|| (name.to_owned(), value.to_owned()))
            .ok_or_else(|| format!("a bad tag: {part}"))
    };
    text.split(',').map(tag).collect()
}

/// Splits where no backslash stands before, and leaves the backslashes in.
fn split_unescaped(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_escaped = false;
    for c in text.chars() {
        if c == at && !is_escaped {
            parts.push(String::new());
            continue;
        }
        is_escaped = c == '\\' && !is_escaped;
        parts
            .iter_mut()
            .last()
            .into_iter()
            .for_each(|part| part.push(c));
    }
    parts
}

/// Takes the backslashes off, each of which must have something to escape.
fn plain(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ (',' | ' ' | '=')) => plain.push(c),
                _ => return Err("a backslash that escapes nothing".to_owned()),
            },
            c => plain.push(c),
        }
    }
    Ok(plain)
}
