/// Reads the lines of a policy: comma-separated values, where `#` begins a comment.
///
/// Yields the number of the line and its fields, at least one, or `None` if its quotes are wrong.
pub(crate) fn rules(text: &str) -> impl Iterator<Item = (usize, Option<Vec<String>>)> {
    text.lines()
        .enumerate()
        .map(|(at, line)| (at + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| (number, fields(line)))
}

/// Splits a line. Blanks around a field are not part of it; a field in double quotes may contain commas, and quotes that are doubled.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        let mut field = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (text, after) = rest.split_once('"')?;
                field.push_str(text);
                rest = after;
                match rest.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        rest = after;
                    }
                    None => break,
                }
            }
            rest = rest.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            field.push_str(rest[..end].trim_end());
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_trimmed_and_unquoted() {
        let cases: [(&str, Option<&[&str]>); 9] = [
            (
                "p, alice , data1,read",
                Some(&["p", "alice", "data1", "read"]),
            ),
            ("p,", Some(&["p", ""])),
            (",", Some(&["", ""])),
            (r#"p, "a, b" , c"#, Some(&["p", "a, b", "c"])),
            (r#"p, "say ""hi""""#, Some(&["p", r#"say "hi""#])),
            (
                r#"p, r.sub == "a", x"#,
                Some(&["p", r#"r.sub == "a""#, "x"]),
            ),
            (r#"p, """#, Some(&["p", ""])),
            (r#"p, "a"#, None),
            (r#"p, "a" b"#, None),
        ];
        for (line, expected) in cases {
            let expected = expected.map(|fields| fields.iter().map(ToString::to_string).collect());
            assert_eq!(fields(line), expected, "{line}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let text = "\n# p, a\r\n  p, b \r\n\t\n  # c\np, d";
        let found: Vec<_> = rules(text)
            .map(|(number, rule)| (number, rule.unwrap()))
            .collect();
        let rule = |name: &str| vec!["p".to_owned(), name.to_owned()];
        assert_eq!(found, [(3, rule("b")), (6, rule("d"))]);
    }
}
