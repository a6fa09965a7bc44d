//! An authority of its own for each test: nothing but the openssl command line.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use tonic::transport::{Certificate, Identity};

use super::{Home, openssl};

/// Signs certificates, each beside its key in the home: `NAME.pem` and `NAME.key`.
pub struct Authority {
    folder: PathBuf,
    name: String,
}

/// From long ago, and until long hence, long ago too, or soon; or from long hence.
pub enum Validity {
    Good,
    Expired,
    NotYet,
    Seconds(u32),
}

const CURVE: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

impl Authority {
    /// Makes one; its own certificate is `NAME.pem`.
    pub fn new(home: &Home, name: &str) -> Self {
        let folder = home.path(&format!("{name}-authority"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("index.txt"), "").unwrap();
        fs::write(folder.join("serial"), "1000").unwrap();
        fs::write(folder.join("crlnumber"), "1000").unwrap();
        let shown = folder.display();
        let config = format!(
            "[ca]\ndefault_ca=d\n[d]\ndatabase={shown}/index.txt\nserial={shown}/serial\nnew_certs_dir={shown}\n\
             crlnumber={shown}/crlnumber\n\
             default_md=sha256\npolicy=p\ncopy_extensions=copy\nunique_subject=no\n[p]\ncommonName=supplied\n"
        );
        fs::write(folder.join("config"), config).unwrap();
        let authority = Self { folder, name: name.to_owned() };
        let (key, certificate) = (authority.text("key"), home.text(&format!("{name}.pem")));
        let subject = format!("/CN={name}");
        let made = ["req", "-x509", "-days", "30", "-subj", &subject, "-keyout", &key, "-out", &certificate];
        openssl(&[&made[..], &CURVE[..]].concat(), b"");
        fs::copy(certificate, authority.folder.join("certificate")).unwrap();
        authority
    }

    fn text(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Its own certificate, as clients take it.
    pub fn certificate(&self) -> Certificate {
        Certificate::from_pem(fs::read(self.folder.join("certificate")).unwrap())
    }

    /// Makes a key and a certificate for `localhost`, with a URI that bears the name.
    pub fn sign(&self, home: &Home, name: &str, validity: &Validity) -> Identity {
        let names = format!("subjectAltName=DNS:localhost,URI:urn:vendkey-test:{name}");
        self.sign_as(home, name, validity, &[&names])
    }

    /// The same with these extensions.
    pub fn sign_as(&self, home: &Home, name: &str, validity: &Validity, extensions: &[&str]) -> Identity {
        let (key, request) = (self.text(&format!("{name}.key")), self.text(&format!("{name}.csr")));
        let subject = format!("/CN={name}");
        let made = ["req", "-subj", &subject, "-keyout", &key, "-out", &request];
        let added: Vec<&str> = extensions.iter().flat_map(|extension| ["-addext", *extension]).collect();
        openssl(&[&made[..], &added[..], &CURVE[..]].concat(), b"");
        let end = match validity {
            Validity::Good | Validity::NotYet => "20491231000000Z".to_owned(),
            Validity::Expired => "20200201000000Z".to_owned(),
            Validity::Seconds(left) => {
                let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs((*left).into());
                end.strftime("%Y%m%d%H%M%SZ").to_string()
            }
        };
        let begin = if matches!(validity, Validity::NotYet) { "20481231000000Z" } else { "20200101000000Z" };
        let certificate = self.text(&format!("{name}.pem"));
        let (config, own, own_key) = (self.text("config"), self.text("certificate"), self.text("key"));
        openssl(
            &[
                "ca",
                "-batch",
                "-notext",
                "-config",
                &config,
                "-cert",
                &own,
                "-keyfile",
                &own_key,
                "-in",
                &request,
                "-out",
                &certificate,
                "-startdate",
                begin,
                "-enddate",
                &end,
            ],
            b"",
        );
        // As a careful administrator does it: the certificate is there with its key or not at all.
        for (from, to) in [(key, format!("{name}.key")), (certificate, format!("{name}.pem"))] {
            fs::rename(from, home.path(&to)).unwrap();
        }
        let read = |ending: &str| fs::read(home.path(&format!("{name}.{ending}"))).unwrap();
        Identity::from_pem(read("pem"), read("key"))
    }

    /// Takes a certificate of its own back.
    pub fn revoke(&self, home: &Home, name: &str) {
        self.ca(&["-revoke", &home.text(&format!("{name}.pem"))]);
    }

    /// Its list of those, from long ago until this moment (`20491231000000Z`), in place of what has
    /// this name.
    pub fn revocation_list(&self, home: &Home, name: &str, end: &str) {
        let list = self.text("list");
        let made = ["-gencrl", "-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", end, "-out", &list];
        self.ca(&made);
        fs::rename(list, home.path(name)).unwrap();
    }

    fn ca(&self, arguments: &[&str]) {
        let (config, own, own_key) = (self.text("config"), self.text("certificate"), self.text("key"));
        let fixed = ["ca", "-batch", "-config", &config, "-cert", &own, "-keyfile", &own_key];
        openssl(&[&fixed[..], arguments].concat(), b"");
    }

    /// Its name, also that of its file.
    pub fn file(&self) -> String {
        format!("{}.pem", self.name)
    }
}

/// openssl's own server, with the certificate `server.pem` of a home. It ends when it is dropped.
pub struct OpensslServer {
    child: Child,
    pub port: String,
    // Open for as long as the server may write to it.
    _output: BufReader<ChildStdout>,
}

impl OpensslServer {
    pub fn start(home: &Home, options: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0"])
            .args(["-cert", &home.text("server.pem"), "-key", &home.text("server.key")])
            .args(options)
            // It ends with its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        let port = lines.find_map(|line| Some(line.strip_prefix("ACCEPT 127.0.0.1:")?.to_owned())).unwrap();
        Self { child, port, _output: output }
    }
}

impl Drop for OpensslServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
