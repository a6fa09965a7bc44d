//! What a file or text is that stands in place of a public key or a blob.
//!
//! People upload what their tools wrote: hex, UTF-16, a certificate, the private key. What is the
//! same in another spelling is read; anything else is told by what it is. All of it is by bytes
//! that everybody sees, so it is no oracle: what ciphertext decrypts to plays no part.
//!
//! ```text
//! encoding   UTF-16, byte order marks -> text; hex, base64 -> bytes
//! spelling   mail quotes, quoted-printable, percent signs, data URLs, ... around a text
//! textual    what shows in text: PEM and its relatives, JWK, XML, SSH
//! binary     what shows in bytes: DER, key stores, `Salted__`, the configuration in clear
//! ```

mod binary;
mod encoding;
mod spelling;
mod textual;

pub(super) use encoding::text;

use super::blob::{self, Base64Fault};

/// How often something may be wrapped: base64 of quoted-printable of UTF-16 of PEM is four.
const MOST_LAYERS: usize = 8;
/// From this many symbols on, bytes that are nothing but hex or base64 are taken for it.
const BEYOND_DOUBT: usize = 40;

/// What something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// Nothing, or blanks alone.
    Empty,
    /// A private key, or a file that holds one: its form.
    PrivateKey(&'static str),
    /// An RSA public key.
    RsaPublicKey {
        /// The modulus, big endian.
        modulus: Vec<u8>,
        /// The exponent, big endian.
        exponent: Vec<u8>,
        /// What it was in.
        holder: Holder,
    },
    /// A public key that is not of plain RSA: its algorithm.
    OtherPublicKey(&'static str, Holder),
    /// More than one public key or certificate, so that nobody knows which is meant.
    SeveralKeys(usize),
    /// The configuration itself, not encrypted.
    Configuration,
    /// What `openssl enc` makes with a password.
    Salted,
    /// Something else that is known: a phrase with its article.
    Other(&'static str),
    /// Bytes that show nothing, as ciphertext does.
    Bytes(Vec<u8>),
    /// Text that shows nothing, and why it is not base64.
    Text(Base64Fault),
}

/// What a public key stood in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A key by itself.
    Key,
    /// A certificate (X.509).
    Certificate,
    /// A certificate request (PKCS#10).
    Request,
    /// Certificates as PKCS#7.
    Pkcs7,
}

impl Holder {
    fn phrase(self) -> &'static str {
        match self {
            Self::Key => "a public key",
            Self::Certificate => "a certificate",
            Self::Request => "a certificate request",
            Self::Pkcs7 => "a certificate as PKCS#7",
        }
    }

    /// What to tell whoever gave it in place of the key itself.
    pub fn notice(self) -> Option<String> {
        (self != Self::Key).then(|| {
            format!("this was {}: its public key was taken, nothing else in it counts here", self.phrase())
        })
    }
}

impl Recognised {
    /// What the public key stood in, if it is one.
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Self::RsaPublicKey { holder, .. } | Self::OtherPublicKey(_, holder) => Some(*holder),
            _ => None,
        }
    }

    /// Whether it is a private key that a passphrase keeps shut.
    pub fn is_encrypted_key(&self) -> bool {
        matches!(self, Self::PrivateKey(form) if form.ends_with("encrypted"))
    }

    /// What it is, as a phrase: `a certificate request`, `a private key (OpenSSH)`.
    pub fn phrase(&self) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::PrivateKey(form) => format!("a private key ({form})"),
            Self::RsaPublicKey { holder, .. } => holder.phrase().to_owned(),
            Self::OtherPublicKey(algorithm, holder) => format!("{} ({algorithm})", holder.phrase()),
            Self::SeveralKeys(count) => format!("{count} public keys or certificates together"),
            Self::Configuration => "the configuration in clear".to_owned(),
            Self::Salted => "data that was encrypted with a password (it begins with Salted__)".to_owned(),
            Self::Other(phrase) => (*phrase).to_owned(),
            Self::Bytes(_) => "bytes of no known form".to_owned(),
            Self::Text(_) => "a text of no known form".to_owned(),
        }
    }
}

/// Says what something is, and takes off what is wrapped around it.
pub fn recognise(bytes: &[u8]) -> Recognised {
    if bytes.len() > 2 * blob::MAX_TEXT {
        return Recognised::Text(Base64Fault::TooLong(bytes.len()));
    }
    match layer(bytes, MOST_LAYERS) {
        Layer::Found(content) => content,
        Layer::Plain(bytes) => Recognised::Bytes(bytes),
        Layer::Text(text) => match base64(&text) {
            Ok(bytes) => decoded(bytes, MOST_LAYERS),
            Err(fault) => Recognised::Text(fault),
        },
    }
}

fn base64(text: &str) -> Result<Vec<u8>, Base64Fault> {
    if spelling::lacks_plus(text) { Err(Base64Fault::Blanks) } else { blob::decode(text.as_bytes()) }
}

/// What a look at one layer brings.
enum Layer {
    /// Known.
    Found(Recognised),
    /// Bytes that show nothing.
    Plain(Vec<u8>),
    /// Text that is nothing but perhaps base64.
    Text(String),
}

fn layer(bytes: &[u8], left: usize) -> Layer {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Layer::Found(Recognised::Empty);
    }
    if let Some(content) = binary::recognise(bytes) {
        return Layer::Found(content);
    }
    let (Some(text), Some(left)) = (text(bytes), left.checked_sub(1)) else {
        return Layer::Plain(bytes.to_owned());
    };
    if text.trim().is_empty() {
        return Layer::Found(Recognised::Empty);
    }
    let is_changed = text.as_bytes() != bytes;
    if let Some(content) = is_changed.then(|| binary::recognise(text.as_bytes())).flatten() {
        return Layer::Found(content);
    }
    if let Some(content) = textual::sign(&text) {
        return Layer::Found(content);
    }
    if let Some(bytes) = encoding::hex(&text) {
        return Layer::Found(decoded(bytes, left));
    }
    if let Some(inner) = spelling::unwrap(&text) {
        return layer(inner.as_bytes(), left);
    }
    match textual::recognise(&text, left) {
        Some(content) => Layer::Found(content),
        None => Layer::Text(text),
    }
}

/// What decoded bytes are. They may be text once more, but short ones show that by chance.
fn decoded(bytes: Vec<u8>, left: usize) -> Recognised {
    match layer(&bytes, left) {
        Layer::Found(Recognised::Empty) => Recognised::Bytes(bytes),
        Layer::Found(content) => content,
        Layer::Plain(_) => Recognised::Bytes(bytes),
        Layer::Text(text) => match (left.checked_sub(1), blob::decode(text.as_bytes())) {
            (Some(left), Ok(inner)) if text.trim().len() >= BEYOND_DOUBT => decoded(inner, left),
            _ => Recognised::Bytes(bytes),
        },
    }
}

/// What stands in the armour of a block, whose body is base64 (or hex), or why it is not.
fn body(text: &str, left: usize) -> Recognised {
    match encoding::hex(text).map_or_else(|| base64(text), Ok) {
        Ok(bytes) => decoded(bytes, left),
        Err(fault) => Recognised::Text(fault),
    }
}

#[cfg(test)]
mod tests;
