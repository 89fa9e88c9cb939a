use std::{iter::Peekable, str::Chars};

/// Reads one line by the grammar of go-logfmt, as pairs in their order.
///
/// # Errors
///
/// What is wrong with it.
pub fn read_logfmt(line: &str) -> Result<Vec<(String, String)>, String> {
    let mut chars = line.chars().peekable();
    let mut pairs = Vec::new();
    loop {
        while chars.next_if(|c| *c <= ' ').is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let key = bare(&mut chars)?;
        if key.is_empty() {
            return Err(format!("no key after {} pairs", pairs.len()));
        }
        let mut value = String::new();
        if chars.next_if_eq(&'=').is_some() {
            value = match chars.next_if_eq(&'"') {
                Some(_) => quoted(&mut chars)?,
                None => bare(&mut chars)?,
            };
            if chars.peek().is_some_and(|c| *c > ' ') {
                return Err(format!("the value of {key} goes on"));
            }
        }
        pairs.push((key, value));
    }
}

/// A word up to a blank, an equals sign or a quote.
fn bare(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| *c > ' ' && *c != '=' && *c != '"') {
        if c == char::REPLACEMENT_CHARACTER {
            return Err("a word that is not UTF-8".to_owned());
        }
        word.push(c);
    }
    Ok(word)
}

/// What stands between quotes, whose escapes are those of JSON. The first quote is read already.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err("no closing quote".to_owned()),
            Some('"') => return Ok(text),
            Some('\\') => text.push(escape(chars).ok_or("no such escape")?),
            Some(c) => text.push(c),
        }
    }
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Option<char> {
    match chars.next()? {
        c @ ('"' | '\\') => Some(c),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'u' => {
            let digits: String = chars.take(4).collect();
            let is_code = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_code)?;
            char::from_u32(code)
        }
        _ => None,
    }
}
