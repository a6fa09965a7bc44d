//! The administrator: nothing but the openssl command line.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Runs openssl with this input and answers its output.
pub fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The three text files of an upload.
#[derive(Clone, Debug)]
pub struct Blobs {
    pub data: String,
    pub digest: String,
    pub key: String,
}

/// One with a key pair and the server's public key.
pub struct Administrator {
    dir: tempfile::TempDir,
}

pub const AES_KEY: &[u8; 16] = b"0f1e2d3c4b5a6978";
pub const AES_IV: &[u8; 16] = b"8796a5b4c3d2e1f0";

impl Administrator {
    /// Makes a key pair; `server_key` is PEM.
    pub fn new(server_key: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("server.pem"), server_key).unwrap();
        let private = openssl(&["genrsa", "2048"], b"");
        fs::write(dir.path().join("private.pem"), private).unwrap();
        Self { dir }
    }

    /// Encrypts to this key from now on; PEM.
    pub fn use_server_key(&mut self, server_key: &str) {
        fs::write(self.dir.path().join("server.pem"), server_key).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// The public key, PEM SPKI.
    pub fn public_key(&self) -> Vec<u8> {
        openssl(&["rsa", "-in", &self.path("private.pem"), "-pubout"], b"")
    }

    /// The three blobs as the article makes them.
    pub fn encrypt(&self, yaml: impl AsRef<[u8]>) -> Blobs {
        let yaml = yaml.as_ref();
        Blobs { data: self.data(yaml), digest: self.digest(yaml), key: self.key(AES_KEY) }
    }

    /// `openssl enc -aes-128-cbc -K HEX -iv HEX`, the IV in front, base64.
    pub fn data(&self, yaml: &[u8]) -> String {
        let (key, iv) = (hex::encode(AES_KEY), hex::encode(AES_IV));
        let ciphertext = openssl(&["enc", "-aes-128-cbc", "-K", &key, "-iv", &iv], yaml);
        base64(&[AES_IV.as_slice(), &ciphertext].concat())
    }

    /// `openssl dgst -binary -sha256 | openssl rsautl -sign`, base64.
    pub fn digest(&self, yaml: &[u8]) -> String {
        let digest = openssl(&["dgst", "-binary", "-sha256"], yaml);
        base64(&openssl(&["rsautl", "-sign", "-inkey", &self.path("private.pem")], &digest))
    }

    /// `openssl rsautl -encrypt -pubin`, base64.
    pub fn key(&self, aes_key: &[u8]) -> String {
        base64(&openssl(&["rsautl", "-encrypt", "-pubin", "-inkey", &self.path("server.pem")], aes_key))
    }

    /// Writes the blobs as files and answers their paths: data, digest, key.
    pub fn files(&self, blobs: &Blobs) -> [String; 3] {
        [("data", &blobs.data), ("digest", &blobs.digest), ("key", &blobs.key)].map(|(name, text)| {
            fs::write(Path::new(&self.path(name)), text).unwrap();
            self.path(name)
        })
    }
}

/// What the base64 command prints: lines of 76 characters.
pub fn base64(bytes: &[u8]) -> String {
    String::from_utf8(openssl(&["base64"], bytes)).unwrap()
}
