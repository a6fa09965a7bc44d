//! Sealed uploads by the openssl command line: what docs/uploads.md says, and nothing of our own.

use std::{cell::RefCell, fs};

use serde_json::{Value, json};
use vendkey::api::v1::SealingKey;

use super::{Administrator, openssl};

/// Whoever seals: an administrator's key pair, and the sealing key of a server.
pub struct Sealer<'a> {
    pub administrator: &'a Administrator,
    pub server: SealingKey,
    /// The mask keys that were chosen so far.
    pub masks: RefCell<Vec<Vec<u8>>>,
    file: String,
}

/// base64 in one line.
pub fn flat(bytes: &[u8]) -> String {
    String::from_utf8(openssl(&["base64", "-A"], bytes)).unwrap()
}

pub fn unflat(text: &str) -> Vec<u8> {
    openssl(&["base64", "-d", "-A"], text.as_bytes())
}

fn random(bytes: usize) -> Vec<u8> {
    openssl(&["rand", &bytes.to_string()], b"")
}

impl<'a> Sealer<'a> {
    pub fn new(administrator: &'a Administrator, server: SealingKey) -> Self {
        let file = administrator.path(&format!("{}.pem", server.fingerprint));
        fs::write(&file, &server.public_key_pem).unwrap();
        Self { administrator, server, masks: RefCell::default(), file }
    }

    /// RSAES-OAEP to the server, in the suite that SoftHSM opens.
    pub fn encrypt(&self, secret: &[u8]) -> String {
        let oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha1"];
        flat(&openssl(
            &[&["pkeyutl", "-encrypt", "-pubin", "-inkey", &self.file], &oaep[..]].concat(),
            secret,
        ))
    }

    /// What one recipient gets of this key.
    pub fn recipient(&self, key: &[u8]) -> Value {
        let mut recipient = json!({"server_key": self.server.fingerprint, "suite": "RSA-OAEP-SHA-1"});
        if key.len() == 20 {
            recipient["vending_key"] = self.encrypt(&[key, &[0; 44]].concat()).into();
        } else {
            recipient["vending_key"] = self.encrypt(&[key, key, key].concat()).into();
            recipient["mask"] = self.mask(key, &decoder_key(key));
        }
        recipient
    }

    /// The mask of a DKGA02 key, which says that this decoder key goes with it.
    pub fn mask(&self, key: &[u8], decoder_key: &[u8]) -> Value {
        let (mask, iv) = (random(32), random(16));
        let clear = [key, key, decoder_key, decoder_key].concat();
        let (mask_hex, iv_hex) = (hex::encode(&mask), hex::encode(&iv));
        let ciphertext = openssl(&["enc", "-aes-256-cbc", "-nopad", "-K", &mask_hex, "-iv", &iv_hex], &clear);
        self.masks.borrow_mut().push(mask.clone());
        json!({"key": self.encrypt(&mask), "iv": flat(&iv), "ciphertext": flat(&ciphertext)})
    }

    /// The content of an upload of this text, meant for an hour.
    pub fn content(&self, yaml: &str) -> Value {
        let mut attributes = serde_json::Map::new();
        let mut key = Vec::new();
        for (name, value) in yaml.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "vending_key" => key = hex::decode(value).unwrap(),
                _ => drop(attributes.insert(name.to_owned(), value.trim().into())),
            }
        }
        let now = jiff::Timestamp::now();
        let kcv = match key.len() {
            20 => hmac(&key, b"vendkey kcv v1")[..3].to_vec(),
            _ => des(&key, &[0; 8])[..3].to_vec(),
        };
        json!({
            "purpose": "vendkey sealed configuration 1",
            "nonce": flat(&random(16)),
            "not_before": now.to_string(),
            "not_after": (now + jiff::SignedDuration::from_hours(1)).to_string(),
            "attributes": attributes,
            "kcv": hex::encode(kcv),
            "recipients": [self.recipient(&key)],
        })
    }

    /// The signed document.
    pub fn sign(&self, content: &Value) -> Value {
        let content = content.to_string();
        let key = self.administrator.path("private.pem");
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32"];
        let signature =
            openssl(&[&["dgst", "-sha256", "-sign", &key], &pss[..]].concat(), content.as_bytes());
        let spki = openssl(&["pkey", "-in", &key, "-pubout", "-outform", "DER"], b"");
        json!({
            "format": "vendkey sealed upload 1",
            "content": flat(content.as_bytes()),
            "signer": hex::encode(openssl(&["dgst", "-sha256", "-binary"], &spki)),
            "signature": flat(&signature),
        })
    }

    /// An upload of this text.
    pub fn seal(&self, yaml: &str) -> String {
        self.sign(&self.content(yaml)).to_string()
    }
}

/// One DES operation, as triple DES with the key three times.
fn des(key: &[u8], block: &[u8]) -> Vec<u8> {
    openssl(&["enc", "-des-ede3", "-nopad", "-K", &hex::encode([key, key, key].concat())], block)
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = format!("hexkey:{}", hex::encode(key));
    openssl(&["dgst", "-sha256", "-binary", "-mac", "HMAC", "-macopt", &key], message)
}

/// DKGA02's decoder key of the block `vendkey1`.
pub fn decoder_key(key: &[u8]) -> Vec<u8> {
    let block = b"vendkey1";
    des(key, block)
        .iter()
        .zip(block)
        .zip(key)
        .map(|((encrypted, block), key)| encrypted ^ block ^ key)
        .collect()
}
