//! A folder with an own public key infrastructure, made by the binary under test; and other programs' view of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Process, Site, identity};

/// Opens the root's key.
pub(crate) const PASSPHRASE: &str = "correct horse battery";

/// What a program answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs a program to its end; nothing is typed into it.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> Answer {
    let mut command = Command::new(program);
    let output = command.args(args).stdin(std::process::Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}: run `make test`, which installs it")).into()
}

pub(crate) struct Authority {
    pub(crate) folder: TempDir,
}

impl Authority {
    /// With a root whose key is encrypted, and all else by default.
    #[track_caller]
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    #[track_caller]
    pub(crate) fn with(args: &[&str]) -> Self {
        let authority = Self { folder: tempfile::tempdir().unwrap() };
        authority.pki(&[&["init"], args].concat());
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("pki").join(name)
    }

    /// As a text, for command lines.
    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Runs `bifrost pki`, with the root's passphrase at hand, and answers whatever came of it.
    pub(crate) fn try_pki(&self, args: &[&str], passphrase: Option<&str>) -> Answer {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bifrost"));
        command.args(["pki", "--dir", &self.file("")]).args(args).env_clear();
        command.envs(passphrase.map(|passphrase| ("BIFROST_PKI_PASSPHRASE", passphrase)));
        command.output().unwrap().into()
    }

    /// The JSON of what must work.
    #[track_caller]
    pub(crate) fn pki(&self, args: &[&str]) -> Value {
        let answer = self.try_pki(&[args, &["--json"]].concat(), Some(PASSPHRASE));
        assert_eq!(answer.code, Some(0), "pki {args:?}: {}", answer.stderr);
        serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {}", answer.stdout))
    }

    /// The one line that says why something doesn't work.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let answer = self.try_pki(args, Some(PASSPHRASE));
        assert_eq!((answer.code, answer.stderr.lines().count()), (Some(1), 1), "{args:?}: {answer:?}");
        assert!(answer.stderr.starts_with("bifrost: "), "{}", answer.stderr);
        answer.stderr
    }

    /// Whether OpenSSL believes a certificate, strictly and with the revocation lists.
    pub(crate) fn verify(&self, certificate: &str, more: &[&str]) -> Answer {
        let (root, lists, file) = (self.file("root.pem"), self.file("crl.pem"), self.file(certificate));
        let fixed = [
            "verify",
            "-x509_strict",
            "-check_ss_sig",
            "-crl_check_all",
            "-CAfile",
            &root,
            "-CRLfile",
            &lists,
        ];
        run("openssl", &[&fixed[..], &["-untrusted", &file], more, &[&file]].concat())
    }

    /// A certificate as OpenSSL prints it.
    #[track_caller]
    pub(crate) fn text(&self, certificate: &str) -> String {
        let answer = run("openssl", &["x509", "-noout", "-text", "-in", &self.file(certificate)]);
        assert_eq!(answer.code, Some(0), "{}", answer.stderr);
        answer.stdout
    }

    /// A certificate for a gateway on loopback.
    #[track_caller]
    pub(crate) fn issue_server(&self, args: &[&str]) -> Value {
        self.pki(&[&["issue", "server", "gw", "--san", "localhost", "--san", "127.0.0.1"], args].concat())
    }

    /// The configuration of a gateway that shows `gw`, with more below `gateway.tls`.
    pub(crate) fn sections(&self, tls: &Value) -> Value {
        json!({
            "gateway": { "insecure_http": false, "tls": tls },
            "security": { "certificates": {
                "ca_file": self.path("root.pem"),
                "cert_file": self.path("issued/gw.pem"),
                "key_file": self.path("issued/gw.key"),
            } },
        })
    }

    /// A gateway that listens, whether or not this process may talk to it.
    #[track_caller]
    pub(crate) fn serve(&self, tls: &Value) -> Served {
        let site = Site::with(&self.sections(tls), &json!([]));
        identity::prepare(&site.data_dir());
        let mut process = site.launch();
        let hello = process.error_line("`gateway runs`", |line| line.contains(r#""gateway runs""#));
        let url = serde_json::from_str::<Value>(&hello).unwrap()["url"].as_str().unwrap().to_owned();
        Served { _site: site, process, url }
    }

    /// `curl` with the authority's root, and more.
    pub(crate) fn curl(&self, url: &str, more: &[&str]) -> Answer {
        let root = self.file("root.pem");
        run("curl", &[&["-sS", "--max-time", "20", "--cacert", &root], more, &[url]].concat())
    }
}

pub(crate) struct Served {
    _site: Arc<Site>,
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Served {
    /// Host and port.
    pub(crate) fn address(&self) -> String {
        self.url.trim_start_matches("https://").to_owned()
    }

    /// Waits for a line of the log.
    #[track_caller]
    pub(crate) fn await_log(&mut self, part: &str) {
        self.process.error_line(part, |line| line.contains(part));
    }
}

/// The mode of a file, as `chmod` writes it.
pub(crate) fn mode(path: &Path) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    format!("{:o}", fs::metadata(path).unwrap().permissions().mode() & 0o777)
}
