//! What shows in a text: armoured blocks, JWK, XML, SSH keys.

use serde_json::Value;

use super::{Holder, Recognised, body};

/// The longest text that is read as JSON, in bytes.
const MAX_JSON: usize = 64 * 1024;

/// Signs of private keys, wherever they stand: looked for before anything is taken apart.
pub(super) fn sign(text: &str) -> Option<Recognised> {
    const SIGNS: [(&str, &str); 8] = [
        ("PuTTY-User-Key-File-", "PuTTY .ppk"),
        ("SSH PRIVATE KEY FILE FORMAT", "SSH 1"),
        ("AGE-SECRET-KEY-", "age"),
        ("<InverseQ>", "XML"),
        ("PRIVATE KEY BLOCK", "OpenPGP"),
        // openssl, GnuTLS and BIND print them.
        ("Private-Key:", "as text"),
        ("private exponent", "as text"),
        ("PrivateExponent:", "as text"),
    ];
    if let Some((_, form)) = SIGNS.iter().find(|(sign, _)| text.contains(sign)) {
        return Some(Recognised::PrivateKey(form));
    }
    Block::all(text).iter().find_map(Block::private).map(Recognised::PrivateKey)
}

/// What else a text shows.
pub(super) fn recognise(text: &str, left: usize) -> Option<Recognised> {
    let blocks = Block::all(text);
    if !blocks.is_empty() {
        return Some(of_blocks(&blocks, left));
    }
    let trimmed = text.trim_start();
    if trimmed.starts_with(['{', '[']) {
        return json(trimmed);
    }
    if trimmed.starts_with('<') {
        return Some(xml(trimmed));
    }
    ssh(text, left)
}

/// An armoured block: `-----BEGIN LABEL-----`, and what follows up to its end.
struct Block<'a> {
    label: &'a str,
    body: &'a str,
    /// Whether its end is there.
    is_whole: bool,
}

impl<'a> Block<'a> {
    /// All blocks. Word processors make longer dashes of hyphens; `---- BEGIN SSH2` has four and
    /// blanks.
    fn all(text: &'a str) -> Vec<Self> {
        let is_dash = |c: char| matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}');
        let mut blocks = Vec::new();
        let mut rest = text;
        while let Some(begin) = rest.find("BEGIN ") {
            let armoured = rest[..begin].trim_end_matches(' ').ends_with(is_dash);
            rest = &rest[begin + "BEGIN ".len()..];
            let Some(end) = rest.find(is_dash) else { break };
            let label = rest[..end].trim();
            if !armoured || label.contains('\n') {
                continue;
            }
            let behind = rest[end..].trim_start_matches(is_dash);
            let finish = behind.find(is_dash).and_then(|_| behind.find("END "));
            let body = behind[..finish.unwrap_or(behind.len())].trim_end_matches(|c| is_dash(c) || c == ' ');
            blocks.push(Self { label, body, is_whole: finish.is_some() });
            rest = &behind[finish.unwrap_or(behind.len())..];
        }
        blocks
    }

    /// The form of the private key that its label names.
    fn private(&self) -> Option<&'static str> {
        let encrypted = self.body.contains("ENCRYPTED");
        Some(match self.label {
            "ENCRYPTED PRIVATE KEY" => "PKCS#8, encrypted",
            "PRIVATE KEY" => "PKCS#8",
            "RSA PRIVATE KEY" if encrypted => "PKCS#1, encrypted",
            "RSA PRIVATE KEY" => "PKCS#1",
            "EC PRIVATE KEY" if encrypted => "EC, encrypted",
            "EC PRIVATE KEY" => "EC",
            "DSA PRIVATE KEY" => "DSA",
            "OPENSSH PRIVATE KEY" => "OpenSSH",
            label if label.contains("PRIVATE KEY") || label.contains("SECRET KEY") => "PEM",
            label if label.contains("Static key") => "OpenVPN static key",
            _ => return None,
        })
    }

    /// What stands in it, whatever its label says: certutil writes CERTIFICATE around anything.
    fn content(&self, left: usize) -> Recognised {
        match self.label {
            "PGP PUBLIC KEY BLOCK" => return Recognised::Other("an OpenPGP public key"),
            "PGP MESSAGE" => return Recognised::Other("an OpenPGP message"),
            "PGP SIGNATURE" | "PGP SIGNED MESSAGE" => return Recognised::Other("an OpenPGP signature"),
            _ => {}
        }
        // Lines such as `Comment: ...` (which may go on after a backslash) and the checksum of
        // OpenPGP.
        let mut goes_on = false;
        let is_body = |line: &&str| {
            let header = goes_on || line.contains(": ") || line.ends_with(':');
            goes_on = header && line.ends_with('\\');
            let checksum = line.starts_with('=') && line.len() == 5;
            !(header || checksum)
        };
        let lines: Vec<&str> = self.body.lines().map(str::trim).filter(is_body).collect();
        match body(&lines.join("\n"), left) {
            Recognised::Text(_) | Recognised::Empty | Recognised::Bytes(_) if !self.is_whole => {
                Recognised::Other("the beginning of an armoured block without its end: it is cut short")
            }
            content => content,
        }
    }
}

/// One key among the blocks, or what the first one is.
fn of_blocks(blocks: &[Block<'_>], left: usize) -> Recognised {
    let contents: Vec<Recognised> = blocks.iter().map(|block| block.content(left)).collect();
    if let Some(private) = contents.iter().find(|content| matches!(content, Recognised::PrivateKey(_))) {
        return private.clone();
    }
    let mut keys: Vec<&Recognised> = contents.iter().filter(|content| is_key(content)).collect();
    keys.dedup_by(|one, other| same_key(one, other));
    match (keys.as_slice(), contents.first()) {
        ([key], _) => (*key).clone(),
        ([_, ..], _) => Recognised::SeveralKeys(keys.len()),
        ([], Some(first)) => first.clone(),
        ([], None) => Recognised::Empty,
    }
}

pub(super) fn is_key(content: &Recognised) -> bool {
    matches!(
        content,
        Recognised::RsaPublicKey { .. } | Recognised::OtherPublicKey(..) | Recognised::SeveralKeys(_)
    )
}

pub(super) fn same_key(one: &Recognised, other: &Recognised) -> bool {
    match (one, other) {
        (
            Recognised::RsaPublicKey { modulus, exponent, .. },
            Recognised::RsaPublicKey { modulus: theirs, exponent: other, .. },
        ) => modulus == theirs && exponent == other,
        _ => false,
    }
}

/// A JSON Web Key (RFC 7517), or a set of them.
fn json(text: &str) -> Option<Recognised> {
    if text.len() > MAX_JSON {
        return None;
    }
    let value: Value = serde_json::from_str(text.trim_end()).ok()?;
    let keys: Vec<&Value> = match &value {
        Value::Array(keys) => keys.iter().collect(),
        Value::Object(set) => match set.get("keys").and_then(Value::as_array) {
            Some(keys) => keys.iter().collect(),
            None => vec![&value],
        },
        _ => return None,
    };
    let has = |key: &Value, name: &str| key.get("kty").is_some() && key.get(name).is_some();
    if keys.iter().any(|key| ["d", "k", "p", "q"].iter().any(|name| has(key, name))) {
        return Some(Recognised::PrivateKey("JWK"));
    }
    let contents: Vec<Recognised> = keys.iter().filter(|key| has(key, "kty")).map(|key| jwk(key)).collect();
    Some(match contents.as_slice() {
        [] => Recognised::Other("a JSON text"),
        [one] => one.clone(),
        several => Recognised::SeveralKeys(several.len()),
    })
}

fn jwk(key: &Value) -> Recognised {
    let number = |name: &str| {
        let text = key.get(name).and_then(Value::as_str)?;
        super::blob::decode(text.as_bytes()).ok()
    };
    match (number("n"), number("e")) {
        (Some(modulus), Some(exponent)) => {
            Recognised::RsaPublicKey { modulus, exponent, holder: Holder::Key }
        }
        _ => Recognised::OtherPublicKey("JWK of another kind", Holder::Key),
    }
}

/// `RSAKeyValue` of XML signatures and .NET, or something else in angle brackets.
fn xml(text: &str) -> Recognised {
    let value = |name: &str| {
        let (_, rest) = text.split_once(&format!("{name}>"))?;
        super::blob::decode(rest.split_once('<')?.0.as_bytes()).ok()
    };
    if ["<D>", "<P>", "<DP>"].iter().any(|tag| text.contains(tag)) && text.contains("Modulus>") {
        return Recognised::PrivateKey("XML");
    }
    match (value("Modulus"), value("Exponent")) {
        (Some(modulus), Some(exponent)) => {
            Recognised::RsaPublicKey { modulus, exponent, holder: Holder::Key }
        }
        _ if text.to_ascii_lowercase().contains("<html") => Recognised::Other("a web page"),
        _ => Recognised::Other("an XML text"),
    }
}

/// `ssh-rsa AAAA... comment`, perhaps with options in front.
fn ssh(text: &str, left: usize) -> Option<Recognised> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let keys: Vec<Recognised> = lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            words.find(|word| {
                word.starts_with("ssh-") || word.starts_with("ecdsa-sha2-") || word.starts_with("sk-")
            })?;
            Some(
                words
                    .next()
                    .map_or(Recognised::Other("an SSH key without its number"), |key| body(key, left)),
            )
        })
        .collect();
    match keys.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        several => Some(Recognised::SeveralKeys(several.len())),
    }
}

/// The numbers of an SSH public key (RFC 4253 §6.6).
pub(super) fn ssh_numbers(bytes: &[u8]) -> Option<Recognised> {
    let mut rest = bytes;
    let mut field = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (field, behind) = behind.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        rest = behind;
        Some(field)
    };
    let kind = field()?;
    match kind {
        b"ssh-rsa" => {
            let (exponent, modulus) = (field()?.to_vec(), field()?.to_vec());
            Some(Recognised::RsaPublicKey { modulus, exponent, holder: Holder::Key })
        }
        kind if kind.starts_with(b"ssh-") || kind.starts_with(b"ecdsa-sha2-") || kind.starts_with(b"sk-") => {
            Some(Recognised::OtherPublicKey("SSH key of another kind", Holder::Key))
        }
        _ => None,
    }
}
