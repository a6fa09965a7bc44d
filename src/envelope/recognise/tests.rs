//! Every kind of thing that people gave, in every spelling that it came in. The openssl command
//! line makes them.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::traits::PublicKeyParts;
use tempfile::TempDir;

use super::super::test_keys;
use super::*;

/// Forms of the private key that openssl makes: file, commands.
const PRIVATE: &str = "
    openssl pkey -in user.pem -out pkcs8.pem; openssl pkey -in user.pem -outform DER -out pkcs8.der
    openssl rsa -in user.pem -traditional -out pkcs1.pem; openssl rsa -in user.pem -traditional -outform DER -out pkcs1.der
    openssl rsa -in user.pem -traditional -aes128 -passout pass:secret -out pkcs1-encrypted.pem
    openssl pkcs8 -topk8 -in user.pem -passout pass:secret -out encrypted.pem
    openssl pkcs8 -topk8 -in user.pem -passout pass:secret -outform DER -out encrypted.der
    openssl pkcs8 -topk8 -in user.pem -v1 PBE-SHA1-3DES -passout pass:secret -outform DER -out pbe.der
    openssl ecparam -name prime256v1 -genkey -noout -out ec.pem; openssl ec -in ec.pem -outform DER -out ec.der
    openssl pkey -in ec.pem -out ec-pkcs8.pem; openssl pkey -in ec.pem -outform DER -out ec-pkcs8.der
    openssl genpkey -algorithm ed25519 -out ed25519.pem; openssl pkey -in ed25519.pem -outform DER -out ed25519.der
    cat pkcs8.pem public.pem > both.pem; cat public.pem pkcs1.pem > behind.pem
    openssl pkcs12 -export -inkey user.pem -in certificate.pem -passout pass:secret -out pkcs12.p12
    sed 's/PRIVATE KEY/PUBLIC KEY/' pkcs8.pem > wrong-label.pem
    sed 's/PRIVATE KEY/CERTIFICATE/' pkcs8.pem > wrong-armour.pem
";

/// Forms of its public half.
const PUBLIC: &str = "
    openssl pkey -in user.pem -pubout -out public.pem; openssl pkey -in user.pem -pubout -outform DER -out public.der
    openssl rsa -in user.pem -RSAPublicKey_out -out rsa.pem; openssl rsa -in user.pem -RSAPublicKey_out -outform DER -out rsa.der
    sed 's/PUBLIC KEY/CERTIFICATE/' public.pem > wrong-armour.pem
    sed 's/PUBLIC KEY/PKCS7/' public.pem > pkcs7-armour.pem
    cat public.pem rsa.pem > twice.pem
    sed 's/-----BEGIN/----\u{2013}BEGIN/; s/-----END/\u{2014}END/' public.pem > dashes.pem
    { echo 'A key of Asha:'; echo; cat public.pem; echo; echo 'Regards'; } > mail.pem
    { echo '---- BEGIN SSH2 PUBLIC KEY ----'; echo 'Comment: \"2048-bit \\'; echo 'RSA\"'; base64 ssh.bin | fold -w 70; \
      echo '---- END SSH2 PUBLIC KEY ----'; } > ssh2.pub
    { printf 'ssh-rsa '; base64 -w0 ssh.bin; echo ' asha@laptop'; } > ssh.pub
";

/// What holds it.
const HOLDERS: &str = "
    openssl req -new -x509 -key user.pem -subj /CN=test -days 1 -out certificate.pem
    openssl x509 -in certificate.pem -outform DER -out certificate.der
    openssl x509 -in certificate.pem -trustout -out trusted.pem
    openssl req -new -key user.pem -subj /CN=test -out request.pem; openssl req -in request.pem -outform DER -out request.der
    sed 's/CERTIFICATE REQUEST/NEW CERTIFICATE REQUEST/' request.pem > new-request.pem
    openssl crl2pkcs7 -nocrl -certfile certificate.pem -out certificate.p7b
    openssl crl2pkcs7 -nocrl -certfile certificate.pem -outform DER -out certificate.p7c
";

fn openssl() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let user = test_keys::administrator();
    std::fs::write(folder.path().join("user.pem"), user.to_pkcs8_pem(LineEnding::LF).unwrap()).unwrap();
    let mut ssh = Vec::new();
    for field in [&b"ssh-rsa"[..], &user.e().to_bytes_be(), &[&[0], &user.n().to_bytes_be()[..]].concat()] {
        ssh.extend(u32::try_from(field.len()).unwrap().to_be_bytes());
        ssh.extend(field);
    }
    std::fs::write(folder.path().join("ssh.bin"), ssh).unwrap();
    folder
}

/// Runs the commands and answers the files that they made.
fn made(folder: &Path, commands: &str) -> Vec<(String, Vec<u8>)> {
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let before = names();
    let output = Command::new("bash").args(["-ec", commands]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let new = names().into_iter().filter(|name| !before.contains(name));
    new.map(|name| (name.clone(), std::fs::read(folder.join(name)).unwrap())).collect()
}

/// Every spelling of some bytes; `None` for those that are of texts alone.
fn spellings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let base64 = blob::encode(bytes, 76);
    let flat: String = base64.lines().collect();
    let digits = hex::encode(bytes);
    let pairs = |separator: &str| {
        digits.as_bytes().chunks(2).map(String::from_utf8_lossy).collect::<Vec<_>>().join(separator)
    };
    let mut spellings = vec![
        ("as it is", bytes.to_vec()),
        ("base64", base64.clone().into()),
        ("base64 in one line", flat.clone().into()),
        ("base64 of base64", blob::encode(base64.as_bytes(), 64).into()),
        ("base64 in armour", format!("-----BEGIN X-----\n{base64}-----END X-----\n").into()),
        ("base64 in armour of OpenPGP", format!("-----BEGIN PGP ARMORED FILE-----\nComment: x\n\n{base64}=abcd\n-----END PGP ARMORED FILE-----\n").into()),
        ("hex", digits.clone().into()),
        ("hex in capitals", digits.to_uppercase().into()),
        ("hex with colons", pairs(":").into()),
        ("hex with blanks", pairs(" ").into()),
        ("hex of C", format!("0x{}", pairs(", 0x")).into()),
        ("dump", dumped(bytes, true).into()),
        ("dump without characters", dumped(bytes, false).into()),
    ];
    let mut texts = vec![("base64", base64)];
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) {
        texts.push(("", text.to_owned()));
        spellings.push(("written in JSON", serde_json::to_string(text).unwrap().replace('/', "\\/").into()));
        spellings.push(("in a variable", text.replace('\n', "\\n").into()));
    }
    for (_, text) in texts {
        let units = |swap: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(swap).collect::<Vec<u8>>();
        let quoted: String = text.lines().map(|line| format!("> {line}\n")).collect();
        let twice: String = text.lines().map(|line| format!(">> {line}\r\n")).collect();
        spellings.extend([
            ("a mark in front", format!("\u{feff}{text}").into()),
            ("CR LF", text.replace('\n', "\r\n").into()),
            ("mail quotes", quoted.into()),
            ("mail quotes twice", twice.into()),
            ("quoted-printable", text.replace('=', "=3D").replace("=3D\n", "=3D=\n\n").into()),
            ("percent signs", text.replace('%', "%25").replace('+', "%2B").replace('=', "%3D").into()),
            (
                "data URL",
                format!("data:application/octet-stream;base64,{}", blob::encode(text.as_bytes(), 1 << 20))
                    .into(),
            ),
            ("quotation marks", format!("'{}'", text.replace('\'', "")).into()),
            ("UTF-16, big endian", [b"\xfe\xff".to_vec(), units(u16::to_be_bytes)].concat()),
            ("UTF-16, little endian", [b"\xff\xfe".to_vec(), units(u16::to_le_bytes)].concat()),
        ]);
        if text.is_ascii() {
            let bare = String::from_utf8(units(u16::to_le_bytes)).unwrap();
            spellings.extend([
                ("UTF-16 without a mark", bare.clone().into()),
                ("UTF-16 big endian without a mark", units(u16::to_be_bytes)),
                ("UTF-16 read as UTF-8", format!("\u{fffd}\u{fffd}{bare}").into()),
            ]);
        }
    }
    spellings
}

/// As `xxd` writes (with the characters) or `od -Ax -v -tx1`.
fn dumped(bytes: &[u8], with_characters: bool) -> String {
    let mut text = String::new();
    for (number, row) in bytes.chunks(16).enumerate() {
        let pairs: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown: String =
            row.iter().map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' }).collect();
        let _ = match with_characters {
            true => writeln!(text, "{:08x}: {}  {shown}", number * 16, pairs.join(" ")),
            false => writeln!(text, "{:06x} {}", number * 16, pairs.join(" ")),
        };
    }
    if !with_characters {
        let _ = writeln!(text, "{:06x}", bytes.len());
    }
    text
}

fn is_ours(content: &Recognised, expected: Holder) -> bool {
    let ours = test_keys::public(test_keys::administrator());
    let numbers = |content: &Recognised| match content {
        Recognised::RsaPublicKey { modulus, exponent, holder } => {
            let key = super::super::PublicKey::from_components(modulus, exponent).unwrap();
            (key == ours, *holder)
        }
        _ => (false, Holder::Key),
    };
    numbers(content) == (true, expected)
}

#[test]
fn private_keys_in_every_form_and_spelling() {
    let folder = openssl();
    made(folder.path(), PUBLIC);
    made(folder.path(), HOLDERS);
    let mut files = made(folder.path(), PRIVATE);
    files.push(("user.pem".into(), std::fs::read(folder.path().join("user.pem")).unwrap()));
    for (name, file) in [
        ("ppk", &include_bytes!("../../../tests/cases/keys-other-forms/key.ppk")[..]),
        ("pgp", include_bytes!("../../../tests/cases/keys-other-forms/pgp-private.asc")),
        ("encrypted", include_bytes!("../../../tests/cases/keys-other-forms/encrypted-pkcs8.der")),
        ("encrypted pem", include_bytes!("../../../tests/cases/keys/key-encrypted-pkcs8.pem")),
        ("both", include_bytes!("../../../tests/cases/keys/key-private-and-public.pem")),
        ("ec", include_bytes!("../../../tests/cases/keys/key-ec-private.pem")),
        ("jwk", br#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#),
        ("jwk ec", br#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB","d":"AQAB"}"#),
        ("jwks", br#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"oct","k":"AQAB"}]}"#),
        ("service account", br#"{"type":"x","private_key":"-----BEGIN PRIVATE KEY-----\nAQAB\n-----END PRIVATE KEY-----\n"}"#),
        ("xml", b"<RSAKeyValue><Modulus>AQAB</Modulus><Exponent>AQAB</Exponent><P>AQAB</P><D>AQAB</D></RSAKeyValue>"),
        ("openssh", b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n"),
        ("ssh2", b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nAQAB\n---- END SSH2 ENCRYPTED PRIVATE KEY ----\n"),
        ("tpm", b"-----BEGIN TSS2 PRIVATE KEY-----\nAQAB\n-----END TSS2 PRIVATE KEY-----\n"),
        ("openssl text", b"Private-Key: (2048 bit, 2 primes)\nmodulus:\n    00:ab:cd\nprivateExponent:\n    1f:00\n"),
        ("openssl text ed", b"ED25519 Private-Key:\npriv:\n    26:29\n"),
        ("openssl text ec", b"Private-Key: (256 bit)\npriv:\n    ab:cd\n"),
        ("certtool", b"Public Key Info:\n\nmodulus:\n\t00:ab\n\nprivate exponent:\n\t1f:00\n"),
        ("bind", b"Private-key-format: v1.3\nAlgorithm: 8 (RSASHA256)\nModulus: AQAB\nPrivateExponent: AQAB\n"),
        ("age", b"# created: 2026\nAGE-SECRET-KEY-1QQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQQ\n"),
        ("jks", &[&b"\xfe\xed\xfe\xed\0\0\0\x02"[..], &[7; 100]].concat()),
        ("capi", &[&b"\x07\x02\0\0\0\xa4\0\0RSA2"[..], &[7; 100]].concat()),
        ("ber pkcs12", &[&b"\x30\x80\x02\x01\x03\x30\x80"[..], &[7; 100]].concat()),
        ("openssh binary", &[&b"openssh-key-v1\0"[..], &[7; 100]].concat()),
        ("pgp binary", &[&b"\x95\x00\x80\x04\x60\0\0\0\x01"[..], &[7; 122], b"\xb4\x01x"].concat()),
    ] {
        files.push((name.into(), file.to_vec()));
    }
    assert!(files.len() > 35, "{}", files.len());
    for (name, file) in files {
        for (spelling, bytes) in spellings(&file) {
            let content = recognise(&bytes);
            assert!(matches!(content, Recognised::PrivateKey(_)), "{name}, {spelling}: {}", content.phrase());
        }
    }
    let phrase = |name: &str| recognise(&std::fs::read(folder.path().join(name)).unwrap()).phrase();
    assert_eq!(phrase("encrypted.der"), "a private key (PKCS#8, encrypted)");
    assert_eq!(phrase("pkcs1.der"), "a private key (PKCS#1)");
    assert_eq!(phrase("ec.der"), "a private key (EC)");
    assert_eq!(phrase("pkcs12.p12"), "a private key (PKCS#12)");
}

#[test]
fn ssh_writes_private_keys_too() {
    let folder = openssl();
    let made = made(
        folder.path(),
        "ssh-keygen -q -t rsa -b 2048 -N '' -f rsa; ssh-keygen -q -t ed25519 -N secret -f ed25519
         ssh-keygen -q -t ecdsa -m PEM -N '' -f ecdsa",
    );
    for (name, file) in made {
        let content = recognise(&file);
        match name.as_str() {
            "rsa.pub" => assert!(matches!(content, Recognised::RsaPublicKey { .. }), "{content:?}"),
            name if name.ends_with(".pub") => {
                assert!(matches!(content, Recognised::OtherPublicKey(..)), "{content:?}")
            }
            name => assert!(matches!(content, Recognised::PrivateKey(_)), "{name}: {content:?}"),
        }
    }
}

#[test]
fn public_keys_in_every_form_and_spelling() {
    let folder = openssl();
    let mut files = made(folder.path(), PUBLIC);
    let user = test_keys::administrator();
    let [n, e] =
        [user.n(), user.e()].map(|number| blob::encode(&number.to_bytes_be(), 1 << 20).trim_end().to_owned());
    let url = |text: &str| text.trim_end_matches('=').replace('+', "-").replace('/', "_");
    files.push(("jwk".into(), format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, url(&n), url(&e)).into()));
    files.push((
        "jwks".into(),
        format!(r#"{{"keys":[{{"kty":"RSA","n":"{n}","e":"{e}","use":"sig"}}]}}"#).into(),
    ));
    files.push((
        "xml".into(),
        format!("<RSAKeyValue>\n<Modulus>{n}</Modulus>\n<Exponent>{e}</Exponent></RSAKeyValue>").into(),
    ));
    for (name, file) in files {
        for (spelling, bytes) in spellings(&file) {
            let content = recognise(&bytes);
            assert!(is_ours(&content, Holder::Key), "{name}, {spelling}: {}", content.phrase());
        }
    }
}

#[test]
fn certificates_and_requests_give_their_key() {
    let folder = openssl();
    for (name, file) in made(folder.path(), HOLDERS) {
        let holder = match name.as_str() {
            name if name.contains("request") => Holder::Request,
            name if name.contains(".p7") => Holder::Pkcs7,
            _ => Holder::Certificate,
        };
        for (spelling, bytes) in spellings(&file) {
            let content = recognise(&bytes);
            assert!(is_ours(&content, holder), "{name}, {spelling}: {}", content.phrase());
        }
        assert!(holder.notice().unwrap().contains("certificate"));
    }
    let read = |file: &[u8]| super::super::PublicKey::read(file).map(|(_, holder)| holder);
    assert_eq!(
        read(include_bytes!("../../../tests/cases/keys-other-forms/certificate.der")),
        Ok(Holder::Certificate)
    );
    assert_eq!(
        read(include_bytes!("../../../tests/cases/keys-other-forms/certificate.p7b")),
        Ok(Holder::Pkcs7)
    );
    assert_eq!(
        read(include_bytes!("../../../tests/cases/keys/key-certificate-request.pem")),
        Ok(Holder::Request)
    );
    for key in [
        &include_bytes!("../../../tests/cases/keys/key-public-hex.txt")[..],
        include_bytes!("../../../tests/cases/keys/key-public-utf16.pem"),
        include_bytes!("../../../tests/cases/keys/key-public-wrong-armour.pem"),
    ] {
        assert_eq!(read(key), Ok(Holder::Key));
    }
}

#[test]
fn other_things_are_told_by_what_they_are() {
    let folder = openssl();
    made(folder.path(), PUBLIC);
    let files = made(
        folder.path(),
        "openssl req -new -x509 -key user.pem -subj /CN=one -days 1 -out one.pem
         openssl req -new -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=two -days 1 -out two.pem
         cat one.pem two.pem > several.pem
         openssl crl2pkcs7 -nocrl -certfile several.pem -out several.p7b
         openssl genpkey -algorithm ed25519 | openssl pkey -pubout -out ed25519.pem
         openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout -outform DER -out ec.der
         echo text | openssl enc -aes-128-cbc -pass pass:secret -out salted.bin
         echo text | openssl enc -aes-128-cbc -pass pass:secret -a -out salted.txt
         head -n 3 public.pem > cut.pem",
    );
    for (name, file) in files {
        let phrase = recognise(&file).phrase();
        let expected = match name.as_str() {
            "one.pem" | "two.pem" => "a certificate",
            "several.pem" | "several.p7b" => "2 public keys or certificates together",
            "ed25519.pem" => "a public key (Ed25519)",
            "ec.der" => "a public key (EC)",
            "cut.pem" => "the beginning of an armoured block without its end: it is cut short",
            _ => "data that was encrypted with a password (it begins with Salted__)",
        };
        assert_eq!(phrase, expected, "{name}");
    }
    for (text, expected) in [
        ("", "empty"),
        (" \r\n", "empty"),
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        ("{\"error\": \"not found\"}", "a JSON text"),
        (
            "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAQAB\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----",
            "an OpenPGP public key",
        ),
        ("-----BEGIN PGP MESSAGE-----\n\nAQAB\n=abcd\n-----END PGP MESSAGE-----", "an OpenPGP message"),
        ("name: x\nvending_key: 0123456789abcdef\n", "the configuration in clear"),
        ("hello, world", "a text of no known form"),
    ] {
        assert_eq!(recognise(text.as_bytes()).phrase(), expected, "{text}");
    }
    let utf16: Vec<u8> = "vending_key: 0123456789abcdef".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(recognise(&utf16), Recognised::Configuration);
}

/// `openssl dgst` without `-binary`, `sha256sum`: the bytes are those of the digest.
#[test]
fn lines_of_digest_tools() {
    let digest = [0xA5; 32];
    for line in [
        format!("SHA2-256(stdin)= {}\n", hex::encode(digest)),
        format!("{}  config.yaml\n", hex::encode(digest)),
        format!("{} *-\n", hex::encode(digest)),
    ] {
        assert_eq!(recognise(line.as_bytes()), Recognised::Bytes(digest.to_vec()), "{line}");
    }
}

/// Short keys and digests are not taken for text by chance.
#[test]
fn short_bytes_stay_as_they_are() {
    for bytes in
        [&b"0f1e2d3c4b5a6978"[..], b"abcdefghijklmnop", b"abcdefghijklmnop\n", b"\0", b" ", b"\n\n\n\n"]
    {
        assert_eq!(recognise(blob::encode(bytes, 76).as_bytes()), Recognised::Bytes(bytes.to_vec()));
    }
}

#[test]
fn blanks_where_plus_signs_stood_are_read_or_told() {
    let bytes: Vec<u8> =
        (0..320_u32).map(|number| ((number * number * 7 + number * 31) >> 3) as u8 | 0xC0).collect();
    let good = blob::encode(&bytes, 76);
    assert!(good.lines().filter(|line| line.trim_matches('+').contains('+')).count() > 2, "{good}");
    for text in [
        good.clone(),
        good.lines().collect(),
        good.replace('\n', "\r\n"),
        format!("   {}", good.replace('\n', "\n   ")),
    ] {
        let text = text.replace('+', " ");
        match recognise(text.as_bytes()) {
            Recognised::Bytes(found) => assert_eq!(found, bytes, "{text:?}"),
            other => panic!("{text:?}: {other:?}"),
        }
    }
    // Grouped by a person, not damaged by a form.
    let grouped: Vec<String> = good
        .lines()
        .collect::<String>()
        .replace('+', "/")
        .as_bytes()
        .chunks(8)
        .map(|group| String::from_utf8_lossy(group).into_owned())
        .collect();
    let expected = blob::decode(grouped.concat().as_bytes()).unwrap();
    assert_eq!(recognise(grouped.join(" ").as_bytes()), Recognised::Bytes(expected));
    // A blank was cut off at the end of a line, so that the width tells nothing.
    let cut = good.replacen('+', "", 1).replace('+', " ");
    assert_eq!(recognise(cut.as_bytes()), Recognised::Text(Base64Fault::Blanks));
    assert_eq!(recognise(b"QUJD RUZHS"), Recognised::Text(Base64Fault::Blanks));
}

proptest! {
    #[test]
    fn ciphertext_in_any_spelling_is_itself(bytes in proptest::collection::vec(any::<u8>(), 32..700)) {
        // By chance alone it is text, or begins as something else does.
        prop_assume!(std::str::from_utf8(&bytes).is_err());
        for (spelling, text) in spellings(&bytes) {
            prop_assert_eq!(recognise(&text), Recognised::Bytes(bytes.clone()), "{}", spelling);
        }
        // Of one line, only the length could tell.
        prop_assume!(bytes.len() > 114);
        let form = blob::encode(&bytes, 76).replace('+', " ");
        match recognise(form.as_bytes()) {
            // A blank in front of each line is a margin.
            Recognised::Bytes(found) => {
                prop_assert!(found == bytes || form.lines().all(|line| line.starts_with(' ')));
            }
            other => prop_assert!(matches!(other, Recognised::Text(_)), "{other:?}"),
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), text: String) {
        let _ = recognise(&bytes).phrase();
        let _ = recognise(text.as_bytes()).phrase();
        let _ = recognise(format!("-----BEGIN {text}-----{text}END ").as_bytes());
        let _ = recognise(&[b"\x30\x82\x01\x00".as_slice(), &bytes].concat());
    }
}
