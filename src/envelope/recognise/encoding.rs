//! Bytes to text, and hex to bytes.

/// Fewer digits are not taken for hex: base64 of an AES key has 24 symbols.
const LEAST_HEX: usize = 32;

/// The text in UTF-8 or UTF-16, without a byte order mark; `None` for what is no text.
pub(in crate::envelope) fn text(bytes: &[u8]) -> Option<String> {
    if let Some(text) = utf16(bytes) {
        return Some(text);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

/// UTF-16 with its mark, or where every second byte is zero, as it is with plain letters.
fn utf16(bytes: &[u8]) -> Option<String> {
    // Whoever read the file as UTF-8 has made replacement characters of the mark.
    let bytes = bytes.strip_prefix("\u{fffd}\u{fffd}".as_bytes()).unwrap_or(bytes);
    let (body, big) = match bytes {
        [0xFF, 0xFE, body @ ..] => (body, false),
        [0xFE, 0xFF, body @ ..] => (body, true),
        _ => {
            let zero = |at: usize| bytes.iter().skip(at).step_by(2).all(|byte| *byte == 0);
            let some = |at: usize| bytes.iter().skip(at).step_by(2).all(|byte| *byte != 0);
            match bytes.len() >= 8 {
                true if zero(1) && some(0) => (bytes, false),
                true if zero(0) && some(1) => (bytes, true),
                _ => return None,
            }
        }
    };
    let unit = |pair: &[u8]| match *pair {
        [high, low] if big => u16::from_be_bytes([high, low]),
        [low, high] => u16::from_le_bytes([low, high]),
        // An odd byte at the end.
        [last] => u16::from(last),
        _ => 0,
    };
    let text = String::from_utf16(&body.chunks(2).map(unit).collect::<Vec<_>>()).ok()?;
    Some(text.trim_start_matches('\u{feff}').to_owned())
}

/// The bytes of a text that is nothing but hex, however it is grouped: `30 82`, `30:82`, `0x30,
/// 0x82`, `\x30`; a dump with addresses (`xxd`, `hexdump -C`, `od -Ax -tx1`); or the line of a tool
/// that computes SHA-256.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    dump(text).or_else(|| plain(text)).or_else(|| sum(text))
}

fn plain(text: &str) -> Option<Vec<u8>> {
    let text = text.replace("0x", "").replace("\\x", "");
    let digits: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, ':' | ',' | '-' | '{' | '}' | ';'))
        .collect();
    if digits.len() < LEAST_HEX { None } else { hex::decode(digits).ok() }
}

/// Lines with an address in front, in hex and ascending, and perhaps the characters behind.
fn dump(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        // The last line of od is an address alone.
        let (address, rest) = line.split_once([':', ' ']).unwrap_or((line.trim_end(), ""));
        if address.len() < 6 || usize::from_str_radix(address, 16).ok()? != bytes.len() {
            return None;
        }
        // The characters stand behind two blanks; of `hexdump -C`, behind a bar, since it has a
        // wider gap in the middle.
        let is_xxd = line.as_bytes().get(address.len()) == Some(&b':');
        let rest = rest.trim_start();
        let end = rest.find(if is_xxd { "  " } else { "|" }).unwrap_or(rest.len());
        let digits: String = rest[..end].split_whitespace().collect();
        bytes.extend(hex::decode(digits).ok()?);
    }
    (bytes.len() * 2 >= LEAST_HEX).then_some(bytes)
}

/// `SHA2-256(stdin)= 0123...` of openssl, `0123...  file` of sha256sum.
fn sum(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let is_sum = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.lines().count() != 1 || text.len() > 300 {
        return None;
    }
    let word = text.split_whitespace().find(is_sum)?;
    hex::decode(word).ok()
}
