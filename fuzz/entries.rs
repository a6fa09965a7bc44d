//! What is done with bytes from outside: one function for each parser, shared by the fuzz targets
//! here and by the bounded run in `tests/suite/fuzzing.rs`. Each asserts what must hold of whatever
//! was taken.

use vendkey::conformance::{SoftwareKeys, run, vectors as vector_file};
use vendkey::envelope::{self, Blob, Blobs, PublicKey, SealedEnvelope, SealingServer, read_content};
use vendkey::sts::attributes::EncryptionAlgorithm;
use vendkey::sts::cipher::DecoderKey;
use vendkey::sts::crc::crc;
use vendkey::sts::token::{ClearBlock, Content, Management, Payload, Rnd, Token};
use vendkey::token_log::{Log, Profile, Summary};

const KEY: [u8; 16] = *b"sixteen byte key";
/// 2026-01-01T00:00Z.
const NOW: i64 = 1_767_225_600;
/// A server key of RSA-2048, so that seeds stay short.
const SERVER_MODULUS_BYTES: usize = 256;

/// The digits of a token, typed by a person or as they are printed, under each cipher.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Token::typed(text) {
        Ok(typed) => assert_eq!(Token::typed(&typed.to_string()), Ok(typed), "what was read is read again"),
        Err(error) => assert!(!error.to_string().is_empty(), "a refusal has a reason"),
    }
    let Ok(token) = text.parse::<Token>() else { return };
    assert_eq!(token.to_string(), text, "a token has one spelling");
    decrypt(&token);
}

/// A block whose CRC is right, which random digits hardly ever have: a byte for the class, then 48
/// bits.
pub fn block(data: &[u8]) {
    let Some(([class, content @ ..], _)) = data.split_first_chunk::<7>() else { return };
    let class = class % 3;
    let content = content.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let mut bytes = (u64::from(class) << 48 | content).to_be_bytes()[1..].to_vec();
    // CRC_C of currency credits.
    if class == 0 && content >> 46 == 1 {
        bytes.push(1);
    }
    let bits = content << 16 | u64::from(crc(&bytes));
    let block = ClearBlock::from_parts(class, bits).expect("the CRC is right");
    for (ea, key) in CIPHERS {
        let key = DecoderKey::from_slice(key).expect("8 or 16 bytes");
        let token = block.encrypt(ea, key).expect("the key fits");
        assert_eq!(token.to_string().parse(), Ok(token.clone()));
        decrypt(&token);
    }
}

const CIPHERS: [(EncryptionAlgorithm, &[u8]); 3] = [
    (EncryptionAlgorithm::Ea07, KEY.split_at(8).0),
    (EncryptionAlgorithm::Ea09, KEY.split_at(8).0),
    (EncryptionAlgorithm::Ea11, &KEY),
];

fn decrypt(token: &Token) {
    for (ea, key) in CIPHERS {
        let key = DecoderKey::from_slice(key).expect("8 or 16 bytes");
        let unverified = token.decrypt(ea, key).expect("the key fits");
        let Ok(block) = unverified.verify() else { continue };
        assert_eq!(
            block.encrypt(ea, key).expect("the key fits"),
            *token,
            "decrypting is undone by encrypting"
        );
        if let Ok(Content::Vending { payload, rnd, tid }) = Content::parse(&block, ea) {
            // Currency tokens carry no RND: any will do.
            let again = payload.block(rnd.unwrap_or(Rnd::from_random(0)), tid);
            // The register of a clear-tamper token means nothing; ours is 0.
            if payload != Payload::Management(Management::ClearTamper) {
                assert_eq!(again.bits(), block.bits(), "what was understood says the same again");
            }
        }
    }
}

/// A request over HTTP: a line with the verb and the path, and the body behind it.
pub fn http(data: &[u8]) {
    static FACE: std::sync::LazyLock<vendkey::http::Json> = std::sync::LazyLock::new(|| {
        vendkey::http::Json::new(vendkey::settings::Origins::default(), 4 << 20)
            .expect("the proto files are served")
    });
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Some((verb, target)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' ')) else {
        return;
    };
    match FACE.transcoded(verb, target, body) {
        None => {}
        Some(Err(refusal)) => {
            assert!(matches!(refusal.reason.text(), "JSON_MALFORMED" | "INVALID_FIELDS"), "{refusal:?}");
            assert!(!refusal.violations.is_empty(), "every refusal names a field");
        }
        Some(Ok(read)) if !body.is_empty() => {
            // What was understood says the same again.
            let again = FACE.transcoded(verb, target, read.json.as_bytes()).expect("the path is known");
            assert_eq!(again.expect("it was understood"), read);
        }
        Some(Ok(_)) => {}
    }
}

/// A file of tokens: messages or a table.
pub fn token_log(data: &[u8]) {
    let mut log = Log::default();
    log.read("file", data.to_vec(), &Profile::default(), || {});
    log.mark();
    let file = log.files.first().expect("one file was read");
    assert_eq!(file.tokens, log.entries.len());
    let lines = 1 + data.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
    for entry in &log.entries {
        let digits = entry.token.as_str();
        assert!(
            digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()),
            "a token has 20 digits"
        );
        assert!((1..=lines).contains(&entry.line), "it stands on a line of the file");
        let told = format!("{entry:?}");
        assert!(!told.contains(digits), "what people are told holds no token");
    }
    assert!(
        file.not_understood.iter().all(|one| !one.why.is_empty()),
        "what was not understood has a reason"
    );
    let summary = Summary::of(&log);
    assert_eq!(summary.tokens + summary.doubles, log.entries.len());
}

/// The text of a configuration.
pub fn configuration(data: &[u8]) {
    match envelope::read(data.to_vec(), NOW) {
        Ok(upload) => {
            let name = &upload.draft.display_name;
            assert!(!name.is_empty() && name.chars().count() <= 200, "{name:?}");
            assert!(matches!(upload.vending_key.bytes().len(), 8 | 16 | 20));
        }
        Err(faults) => assert!(!faults.is_empty(), "a refusal has a reason"),
    }
}

/// The three blobs of an upload, with a zero byte between them.
pub fn envelope(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == 0);
    let mut part = || parts.next().unwrap_or_default();
    let blobs = Blobs { data: part(), digest: part(), key: part() };
    match envelope::parse(&blobs, SERVER_MODULUS_BYTES, &[]) {
        Ok(parsed) => {
            assert!(!parsed.ciphertext().is_empty() && parsed.ciphertext().len().is_multiple_of(16));
            // Without a signer nothing opens, whatever it decrypts to.
            assert!(parsed.verify([data.to_vec()], &[]).is_err());
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "a refusal has a reason");
            faults.iter().for_each(|fault| drop(fault.to_string()));
        }
    }
    // What a command sends is read as what it read.
    if let Ok(text) = envelope::text_of(Blob::Data, data)
        // Base64 of no other letters than hexadecimal digits can be read as either. Of what is
        // encrypted there is none.
        && !text.bytes().all(|letter| letter.is_ascii_hexdigit() || letter.is_ascii_whitespace())
    {
        assert_eq!(envelope::recognise(text.as_bytes()), envelope::recognise(data));
    }
}

/// A sealed upload, and its content where that would be signed.
pub fn sealed(data: &[u8]) {
    match SealedEnvelope::parse(data) {
        // Without a signer nothing is looked at.
        Ok(envelope) => assert!(envelope.verify(&[]).is_err()),
        Err(faults) => {
            assert!(!faults.is_empty(), "a refusal has a reason");
            faults.iter().for_each(|fault| drop(fault.to_string()));
        }
    }
    let server = SealingServer { fingerprint: [0xab; 32].into(), modulus_bytes: SERVER_MODULUS_BYTES };
    match read_content(data, &[server], NOW) {
        Ok(upload) => {
            let (_, key) = upload.keys.first().expect("its algorithm has a key");
            assert_eq!(key.vending_key.len(), SERVER_MODULUS_BYTES);
            assert!(!upload.draft.display_name.is_empty());
        }
        Err(refusal) => drop(format!("{refusal} {refusal:?}")),
    }
}

/// A public key in any of its forms.
pub fn public_key(data: &[u8]) {
    assert!(!envelope::recognise(data).phrase().is_empty(), "everything has a name");
    let Ok(key) = PublicKey::parse(data) else { return };
    assert!((2048..=8192).contains(&key.bits()));
    let again = PublicKey::parse(key.spki_pem().as_bytes()).expect("its own form");
    assert_eq!(again.fingerprint(), key.fingerprint());
}

/// A file of vectors, and what the runner makes of each.
pub fn vectors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(vectors) = vector_file::parse(text) else { return };
    for vector in vectors.iter().take(100) {
        let outcome = run::run(vector, &SoftwareKeys);
        let complete = vector.expected.keys().all(|field| outcome.actual.contains_key(field));
        assert!(outcome.verdict != run::Verdict::Passed || complete, "what passed came out");
    }
}
