//! What mails, browsers, forms and configuration files put around a text. One layer is taken off at
//! a time.

/// The text without its outermost layer; `None` if there is none.
pub(super) fn unwrap(text: &str) -> Option<String> {
    data_url(text)
        .or_else(|| mail_quotes(text))
        .or_else(|| quoted_printable(text))
        .or_else(|| percent(text))
        .or_else(|| json_string(text))
        .or_else(|| escapes(text))
        .or_else(|| quotation_marks(text))
        .or_else(|| form(text))
}

/// `data:application/octet-stream;base64,...`, as browsers copy.
fn data_url(text: &str) -> Option<String> {
    let (_, rest) = text.trim_start().strip_prefix("data:")?.split_once(";base64,")?;
    Some(rest.to_owned())
}

/// `> ` before every line, as in an answered mail.
fn mail_quotes(text: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if text.trim().is_empty() || !lines.all(|line| line.starts_with('>')) {
        return None;
    }
    let bare = |line: &str| line.trim_start().trim_start_matches('>').trim_start().to_owned();
    Some(text.lines().map(bare).collect::<Vec<_>>().join("\n"))
}

/// `=3D` for `=` and `=` at the ends of lines, as in the source of a mail.
fn quoted_printable(text: &str) -> Option<String> {
    if !text.contains("=3D") {
        return None;
    }
    let joined = text.replace("=\r\n", "").replace("=\n", "");
    escaped(&joined, '=')
}

/// `%2B`, `%3D`, as in an address or a form.
fn percent(text: &str) -> Option<String> {
    if text.contains('%') { escaped(text, '%') } else { None }
}

/// Replaces each sign with two hex digits by the character that it stands for; `None` where a sign
/// stands alone.
fn escaped(text: &str, sign: char) -> Option<String> {
    let mut parts = text.split(sign);
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        bytes.extend(hex::decode(digits).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// A string of JSON.
fn json_string(text: &str) -> Option<String> {
    if text.trim_start().starts_with('"') { serde_json::from_str(text.trim()).ok() } else { None }
}

/// `\n` written out, as in pieces of JSON and in variables of the environment.
fn escapes(text: &str) -> Option<String> {
    let found = ["\\n", "\\r", "\\/"].iter().any(|escape| text.contains(escape));
    found.then(|| text.replace("\\r", "").replace("\\n", "\n").replace("\\/", "/"))
}

/// Quotation marks around the whole.
fn quotation_marks(text: &str) -> Option<String> {
    const MARKS: [(char, char); 5] =
        [('"', '"'), ('\'', '\''), ('`', '`'), ('\u{201c}', '\u{201d}'), ('\u{201e}', '\u{201c}')];
    let text = text.trim().trim_end_matches([',', ';']);
    MARKS.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inner.contains([*open, *close])).then(|| inner.to_owned())
    })
}

/// Blanks where `+` stood, as a form that is posted without encoding makes them.
///
/// Beyond doubt only where no `+` is left and the lines have one width with the blanks counted.
fn form(text: &str) -> Option<String> {
    let lines = lines(text)?;
    let (last, others) = lines.split_last()?;
    let width = others.first().unwrap_or(last).len();
    let fits = others.iter().all(|line| line.len() == width)
        && last.len() <= width
        && width.is_multiple_of(4)
        && last.len().is_multiple_of(4);
    (fits && !is_grouped(&lines)).then(|| lines.join("\n").replace(' ', "+"))
}

/// Whether there are blanks inside the lines of base64 that may have been `+`: without them, other
/// bytes would be read.
pub(super) fn lacks_plus(text: &str) -> bool {
    lines(text).is_some_and(|lines| lines.iter().any(|line| line.trim().contains(' ')) && !is_grouped(&lines))
}

/// The lines without their common margin, if they are base64 without a `+` and with blanks.
fn lines(text: &str) -> Option<Vec<&str>> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '=' | ' ');
    let margin = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let lines: Vec<&str> =
        text.lines().map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty()).collect();
    let common = lines.iter().map(margin).min()?;
    let lines: Vec<&str> = lines.iter().filter_map(|line| line.get(common..)).collect();
    let has_blanks = lines.iter().any(|line| line.contains(' '));
    (has_blanks && lines.iter().all(|line| line.chars().all(is_base64))).then_some(lines)
}

/// Whether the blanks only cut the lines into groups of one length, as a person or a printer does.
fn is_grouped(lines: &[&str]) -> bool {
    let groups = |line: &str| line.split(' ').map(str::len).collect::<Vec<_>>();
    let Some(first) = lines.first().map(|line| groups(line)) else { return true };
    let Some(size) = first.first() else { return true };
    let regular = |groups: &[usize]| match groups.split_last() {
        Some((last, others)) => others.iter().all(|group| group == size) && last <= size,
        None => true,
    };
    // Two groups of one line are an accident, unless they are equal.
    let is_accident = lines.len() == 1 && matches!(first.as_slice(), [one, other] if one != other);
    !is_accident && lines.iter().all(|line| regular(&groups(line)))
}
