//! What administrators get wrong, and what forgers try.

use tonic::{Code, Status};
use vendkey::api::v1::{ListPublicKeysRequest, RegisterPublicKeyRequest};

use crate::harness::{
    AES_IV, AES_KEY, Administrator, Api, Blobs, DKGA02, DKGA04, Home, Server, base64, openssl, reason,
};

async fn refused(api: &mut Api, blobs: &Blobs) -> Status {
    api.upload(blobs).await.map(|uploaded| panic!("accepted: {uploaded:?}")).unwrap_err()
}

/// Sealed by hand: any bytes in front of the ciphertext, any key, any IV.
fn data(front: &[u8], key: &[u8], iv: &[u8], yaml: &str) -> String {
    let (key, iv) = (hex::encode(key), hex::encode(iv));
    let ciphertext = openssl(&["enc", "-aes-128-cbc", "-K", &key, "-iv", &iv], yaml.as_bytes());
    base64(&[front, &ciphertext].concat())
}

#[tokio::test]
async fn every_form_that_is_well_made_is_accepted() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    // Texts: other bytes, so other configurations.
    let texts = [
        DKGA04.to_owned(),
        DKGA04.replace('\n', "\r\n"),
        format!("\u{feff}{DKGA04}"),
        DKGA04.replace("---\n", ""),
        DKGA04.replace("name: test configuration", "name: \"test configuration\"  "),
        DKGA04.replace("tariff_index: 01", "# a comment\n\ntariff_index: '01'"),
        DKGA04.trim_end().to_owned(),
        DKGA04.replace("abab", "ABAB"),
    ];
    for text in &texts {
        let uploaded = api.upload(&administrator.encrypt(text)).await;
        assert!(!uploaded.unwrap_or_else(|status| panic!("{text}: {status:?}")).existing, "{text}");
    }
    // Blobs: other writings of the same, so the same configuration.
    let blobs = administrator.encrypt(DKGA04);
    let each = |change: fn(&str) -> String| Blobs {
        data: change(&blobs.data),
        digest: change(&blobs.digest),
        key: change(&blobs.key),
    };
    let with_digest_info = {
        std::fs::write(administrator.path("c.yaml"), DKGA04).unwrap();
        base64(&openssl(
            &["dgst", "-sha256", "-sign", &administrator.path("private.pem"), &administrator.path("c.yaml")],
            b"",
        ))
    };
    let oaep = |aes_key: &[u8]| {
        base64(&openssl(
            &[
                "pkeyutl",
                "-encrypt",
                "-pubin",
                "-inkey",
                &administrator.path("server.pem"),
                "-pkeyopt",
                "rsa_padding_mode:oaep",
            ],
            aes_key,
        ))
    };
    for writing in [
        each(|text| text.replace('\n', "")),
        each(|text| text.replace('\n', "\r\n")),
        each(|text| format!("  {}\n\n", text.replace('\n', " \n "))),
        each(|text| text.replace('+', "-").replace('/', "_")),
        each(|text| text.replace('=', "")),
        Blobs { digest: with_digest_info, ..blobs.clone() },
        Blobs { key: oaep(AES_KEY), ..blobs.clone() },
    ] {
        assert!(api.upload(&writing).await.unwrap().existing);
    }
}

#[tokio::test]
async fn slips_that_show_in_public_bytes_are_named() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let good = administrator.encrypt(DKGA04);
    let salted = base64(&openssl(&["enc", "-aes-128-cbc", "-pass", "pass:x", "-pbkdf2"], DKGA04.as_bytes()));
    let of_sh = [b"-e ".as_slice(), AES_IV].concat();
    let cases = [
        ("digest", "empty", Blobs { digest: String::new(), ..good.clone() }),
        ("data", "Salted__", Blobs { data: salted, ..good.clone() }),
        ("data", "sh", Blobs { data: data(&of_sh, AES_KEY, AES_IV, DKGA04), ..good.clone() }),
        (
            "data",
            "line feed",
            Blobs {
                data: data(&[AES_IV.as_slice(), b"\n"].concat(), AES_KEY, AES_IV, DKGA04),
                ..good.clone()
            },
        ),
        ("data", "clear", Blobs { data: DKGA04.to_owned(), ..good.clone() }),
        ("key", "base64", Blobs { key: "%%%".to_owned(), ..good.clone() }),
        ("data", "32", Blobs { data: base64(b"short"), ..good.clone() }),
        ("digest", "swapped", Blobs { digest: good.key.clone(), key: good.digest.clone(), ..good.clone() }),
        ("key", "not encrypted", Blobs { key: base64(AES_KEY), ..good.clone() }),
    ];
    for (field, hint, blobs) in cases {
        let status = refused(&mut api, &blobs).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "ENVELOPE_MALFORMED"),
            "{hint}"
        );
        let named = crate::harness::violations(&status);
        assert!(named.iter().any(|name| name == field), "{hint}: {named:?}");
        let described = crate::harness::descriptions(&status);
        assert!(described.contains(hint), "{hint}: {described}");
    }
    // All at once.
    let nothing = Blobs { data: String::new(), digest: String::new(), key: String::new() };
    assert_eq!(crate::harness::violations(&refused(&mut api, &nothing).await).len(), 3);
}

#[tokio::test]
async fn every_failure_to_open_answers_the_same_bytes() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let good = administrator.encrypt(DKGA04);
    let server_key = std::fs::read_to_string(administrator.path("server.pem")).unwrap();
    let stranger = Administrator::new(&server_key);
    let flipped = |text: &str, at: usize| {
        let mut bytes = openssl(&["base64", "-d"], text.as_bytes());
        let at = at % bytes.len();
        bytes[at] ^= 1;
        base64(&bytes)
    };
    let other_pair = stranger.public_key();
    std::fs::write(administrator.path("other.pem"), other_pair).unwrap();
    let corrupted = [
        ("another AES key", Blobs { key: administrator.key(b"0000000000000000"), ..good.clone() }),
        (
            "a line feed after the AES key",
            Blobs { key: administrator.key(b"0f1e2d3c4b5a6978\n"), ..good.clone() },
        ),
        ("a short AES key", Blobs { key: administrator.key(b"0f1e2d3c4b5a697"), ..good.clone() }),
        ("damaged padding of the key", Blobs { key: flipped(&good.key, 0), ..good.clone() }),
        ("a damaged key", Blobs { key: flipped(&good.key, 300), ..good.clone() }),
        ("a damaged IV", Blobs { data: flipped(&good.data, 3), ..good.clone() }),
        ("no IV", Blobs { data: data(b"", AES_KEY, AES_IV, DKGA04), ..good.clone() }),
        ("damaged data", Blobs { data: flipped(&good.data, 40), ..good.clone() }),
        ("a damaged last block", Blobs { data: flipped(&good.data, usize::MAX), ..good.clone() }),
        ("a damaged signature", Blobs { digest: flipped(&good.digest, 77), ..good.clone() }),
        ("another signer", Blobs { digest: stranger.digest(DKGA04.as_bytes()), ..good.clone() }),
        (
            "the signature of another text",
            Blobs { digest: administrator.digest(DKGA02.as_bytes()), ..good.clone() },
        ),
    ];
    let mut answers = Vec::new();
    for (what, blobs) in &corrupted {
        let status = refused(&mut api, blobs).await;
        assert_eq!(reason(&status), "ENVELOPE_INVALID", "{what}");
        answers.push((what, status.code(), status.message().to_owned(), status.details().to_vec()));
    }
    for answer in &answers {
        assert_eq!(
            (&answer.1, &answer.2, &answer.3),
            (&answers[0].1, &answers[0].2, &answers[0].3),
            "{}",
            answer.0
        );
    }
}

#[tokio::test]
async fn faults_of_the_text_are_all_named() {
    let home = Home::new();
    home.write_settings("[vending]\nuploads_per_minute = 1000\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    for (from, to, fields) in [
        ("tariff_index: 01", "tariff_index: 01w", vec!["tariff_index"]),
        ("key_type: 2", "key_type: 2\nkey_type: 3", vec!["key_type"]),
        ("key_type: 2", "key_tipe: 2", vec!["key_tipe", "key_type"]),
        ("supply_group_code: 123456\n", "", vec!["supply_group_code"]),
        ("base_date: 2014", "base_date: 2015", vec!["base_date"]),
        ("key_revision_no: 1", "key_revision_no:\u{a0}1", vec!["key_revision_no"]),
        ("key_revision_no: 1", "key_revision_no:\t1", vec!["key_revision_no"]),
        ("key_revision_no: 1", "key_revision_no: &a 1", vec!["key_revision_no"]),
        ("key_revision_no: 1", "key_revision_no: !!int 1", vec!["key_revision_no"]),
        ("4567", "456716", vec!["vending_key"]),
        ("name: test configuration", "type: prism-thrift\nname: x", vec!["type"]),
        ("key_expiry_no: 255", "key_expiry_no: 256\n---\nname: y", vec!["key_expiry_no"]),
    ] {
        let status = refused(&mut api, &administrator.encrypt(DKGA04.replace(from, to))).await;
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "CONFIGURATION_INVALID"),
            "{to}"
        );
        let named = crate::harness::violations(&status);
        for field in fields {
            assert!(named.iter().any(|name| name == field || name == "data"), "{to}: {named:?}");
        }
    }
    let mut many = DKGA04.replace("key_type: 2", "key_type: 7").replace("base_date: 2014", "base_date: 1900");
    many = many.replace("123456", "12345").replace("tariff_index: 01", "tariff_index: 1");
    let named = crate::harness::violations(&refused(&mut api, &administrator.encrypt(many)).await);
    for field in ["key_type", "base_date", "supply_group_code", "tariff_index"] {
        assert!(named.iter().any(|name| name == field), "{named:?}");
    }
    let binary = refused(&mut api, &administrator.encrypt(b"\xff\xfe\x00name: x\n")).await;
    assert_eq!(reason(&binary), "CONFIGURATION_INVALID");
    let long = refused(&mut api, &administrator.encrypt(format!("{DKGA04}#{}\n", "x".repeat(65_536)))).await;
    assert!(matches!(reason(&long).as_str(), "CONFIGURATION_INVALID" | "ENVELOPE_MALFORMED"));
}

#[tokio::test]
async fn upload_attempts_are_limited() {
    let home = Home::new();
    home.write_settings("[vending]\nuploads_per_minute = 3\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let nothing = Blobs { data: String::new(), digest: String::new(), key: String::new() };
    for _ in 0..3 {
        assert_eq!(reason(&refused(&mut api, &nothing).await), "ENVELOPE_MALFORMED");
    }
    let status = refused(&mut api, &nothing).await;
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "UPLOADS_LIMITED"));
    use tonic_types::StatusExt as _;
    assert!(status.get_error_details().retry_info().is_some());
}

#[tokio::test]
async fn blobs_are_read_in_the_spellings_that_they_are_handed_on_in() {
    let home = Home::new();
    home.write_settings("[vending]\nuploads_per_minute = 1000\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let good = administrator.encrypt(DKGA04);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in [("data", &good.data), ("digest", &good.digest), ("key", &good.key)] {
        std::fs::write(path(name), text).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/blobs/make.sh");
    let made = std::process::Command::new("bash")
        .args([script, &path("data"), &path("digest"), &path("key"), &path("forms")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let first = api.upload(&good).await.unwrap();
    for form in ["hex", "form", "mail", "quoted-printable", "url", "armour"] {
        let read = |part: &str| std::fs::read_to_string(path(&format!("forms/{form}.{part}"))).unwrap();
        let blobs = Blobs { data: read("data"), digest: read("digest"), key: read("key") };
        let again = api.upload(&blobs).await.unwrap_or_else(|status| panic!("{form}: {status:?}"));
        assert_eq!(again.configuration, first.configuration, "{form}");
        // The command takes the same, and files that are no text at all.
        let files = ["data", "digest", "key"].map(|part| path(&format!("forms/{form}.{part}")));
        let [data, digest, key] = files.each_ref().map(String::as_str);
        let arguments = ["configuration", "upload", "--data", data, "--digest", digest, "--key", key];
        let uploaded = server.vendkey(&home, &arguments);
        assert!(
            String::from_utf8_lossy(&uploaded.stdout).starts_with("uploaded before"),
            "{form}: {uploaded:?}"
        );
    }
    let raw = ["data", "digest", "key"].map(|part| {
        let text = std::fs::read(path(part)).unwrap();
        std::fs::write(path("raw"), openssl(&["base64", "-d"], &text)).unwrap();
        std::fs::rename(path("raw"), path(&format!("raw.{part}"))).unwrap();
        path(&format!("raw.{part}"))
    });
    let arguments = ["configuration", "upload", "--data", &raw[0], "--digest", &raw[1], "--key", &raw[2]];
    let uploaded = server.vendkey(&home, &arguments);
    assert!(String::from_utf8_lossy(&uploaded.stdout).starts_with("uploaded before"), "{uploaded:?}");
}

#[tokio::test]
async fn what_is_uploaded_in_place_of_a_blob_is_told() {
    let home = Home::new();
    home.write_settings("[vending]\nuploads_per_minute = 1000\n");
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let administrator = api.administrator().await;
    let good = administrator.encrypt(DKGA04);
    let public = String::from_utf8(administrator.public_key()).unwrap();
    let private = openssl(&["genpkey", "-algorithm", "ed25519"], b"");
    let private = String::from_utf8(private).unwrap();
    let salted = openssl(&["enc", "-aes-128-cbc", "-pass", "pass:x", "-pbkdf2", "-a"], DKGA04.as_bytes());
    let digest = format!("SHA2-256(stdin)= {}\n", "a5".repeat(32));
    let hex_key = "a5".repeat(16);
    for (field, hint, blobs) in [
        ("key", "a private key (PKCS#8)", Blobs { key: private.clone(), ..good.clone() }),
        ("digest", "a private key (PKCS#8)", Blobs { digest: base64(private.as_bytes()), ..good.clone() }),
        ("key", "a public key", Blobs { key: public.clone(), ..good.clone() }),
        (
            "data",
            "encrypted with a password",
            Blobs { data: String::from_utf8(salted).unwrap(), ..good.clone() },
        ),
        ("data", "in clear", Blobs { data: hex::encode(DKGA04), ..good.clone() }),
        ("digest", "not signed", Blobs { digest, ..good.clone() }),
        ("key", "not encrypted", Blobs { key: hex_key, ..good.clone() }),
        (
            "data",
            "an OpenPGP message",
            Blobs {
                data: format!("-----BEGIN PGP MESSAGE-----\n\n{}\n-----END PGP MESSAGE-----", good.data),
                ..good.clone()
            },
        ),
        (
            "data",
            "line 1 holds `*` at column 4",
            Blobs { data: format!("abc*{}", good.data), ..good.clone() },
        ),
        ("data", "two texts are joined", Blobs { data: format!("QQ==\n{}", good.data), ..good.clone() }),
        ("key", "a web page", Blobs { key: "<html><body>Sign in</body></html>".to_owned(), ..good.clone() }),
    ] {
        let status = refused(&mut api, &blobs).await;
        assert_eq!(reason(&status), "ENVELOPE_MALFORMED", "{hint}");
        assert_eq!(crate::harness::violations(&status), [field], "{hint}");
        let described = crate::harness::descriptions(&status);
        assert!(described.contains(hint), "{hint}: {described}");
    }
    // The command sends nothing of it, and names all files at once.
    for (name, text) in
        [("private", &private), ("clear", &DKGA04.to_owned()), ("web", &"<html></html>".to_owned())]
    {
        std::fs::write(home.path(name), text).unwrap();
    }
    let [key, data, digest] = ["private", "clear", "web"].map(|name| home.text(name));
    let arguments = ["configuration", "upload", "--data", &data, "--digest", &digest, "--key", &key];
    let output = home.vendkey(&[arguments.as_slice(), &["--endpoint", "http://127.0.0.1:1"]].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "nothing was sent",
        "data: this is the configuration in clear",
        "digest: this is a web page",
        "key: this is a private key",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!output.status.success() && !said.contains("PRIVATE KEY-----"), "{said}");
}

#[tokio::test]
async fn what_is_registered_in_place_of_a_public_key_is_told_or_read() {
    let home = Home::new();
    let server = Server::start(&home);
    let mut api = server.api(&home).await;
    let case = |name: &str| format!("{}/tests/cases/{name}", env!("CARGO_MANIFEST_DIR"));
    let private = [
        "keys/key-private-and-public.pem",
        "keys/key-encrypted-pkcs8.pem",
        "keys/key-ec-private.pem",
        "keys-other-forms/encrypted-pkcs8.der",
        "keys-other-forms/key.ppk",
        "keys-other-forms/pgp-private.asc",
    ];
    for name in private {
        // Not even a connection is made.
        let arguments = ["public-key", "register", &case(name), "--endpoint", "http://127.0.0.1:1"];
        let output = home.vendkey(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name}");
        assert!(
            said.contains("is a private key") && said.contains("NOT SENT") && said.contains("replace"),
            "{said}"
        );
        let public_key = std::fs::read(case(name)).unwrap();
        let request = RegisterPublicKeyRequest { public_key, display_name: String::new() };
        let status = api.public_keys.register_public_key(request).await.unwrap_err();
        let described = crate::harness::descriptions(&status);
        assert!(
            described.contains("private key") && described.contains("replace this pair"),
            "{name}: {described}"
        );
    }
    let listed =
        api.public_keys.list_public_keys(ListPublicKeysRequest::default()).await.unwrap().into_inner();
    assert!(listed.public_keys.is_empty());
    for (name, taken_out) in [
        ("keys/key-public-hex.txt", false),
        ("keys/key-public-utf16.pem", false),
        ("keys/key-public-wrong-armour.pem", false),
        ("keys/key-certificate-request.pem", true),
        ("keys-other-forms/certificate.der", true),
        ("keys-other-forms/certificate.p7b", true),
    ] {
        let public_key = std::fs::read(case(name)).unwrap();
        let request = RegisterPublicKeyRequest { public_key, display_name: String::new() };
        let key = api.public_keys.register_public_key(request).await.unwrap().into_inner();
        let told = key.warnings.iter().any(|warning| warning.code == "KEY_TAKEN_OUT");
        assert_eq!(told, taken_out, "{name}: {:?}", key.warnings);
        let output = server.vendkey(&home, &["public-key", "register", &case(name)]);
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr).contains("its public key was taken"),
            taken_out,
            "{output:?}"
        );
    }
}
