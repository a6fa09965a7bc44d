//! Lines of CSV (RFC 4180), one record a line: fields with commas or quotes stand in quotes.

/// The fields of a line. `None`: a quote is not closed or stands in the middle of a field.
pub(super) fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line.strip_suffix('\r').unwrap_or(line);
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (field, after) = rest.split_at(end);
                if field.contains('"') {
                    return None;
                }
                (field.to_owned(), after)
            }
            Some(quoted) => quoted_field(quoted)?,
        };
        fields.push(field);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn quoted_field(text: &str) -> Option<(String, &str)> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('"')?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Some((field, rest)),
        }
    }
}

/// A line without its end.
pub(super) fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = String::new();
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        // A record is a line: what would end it becomes a space.
        let field = field.replace(['\r', '\n'], " ");
        if field.contains([',', '"']) {
            line.push('"');
            line.push_str(&field.replace('"', "\"\""));
            line.push('"');
        } else {
            line.push_str(&field);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_back() {
        for record in [vec!["a", "", "c"], vec![""], vec!["a,b", "\"", "x\"\"y,"]] {
            assert_eq!(fields(&line(record.iter().copied())).unwrap(), record);
        }
        assert_eq!(fields("a,b\r").unwrap(), ["a", "b"]);
    }

    #[test]
    fn broken_quotes_are_refused() {
        for text in ["\"a", "a\"b", "\"a\"b,c", "\"a\"\"", "a,\"b"] {
            assert_eq!(fields(text), None, "{text}");
        }
    }
}
