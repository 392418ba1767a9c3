//! Certificates for tests: an authority in a folder of its own, and whatever it is asked to sign, good or bad.
//!
//! Shared by path with the tests of the crates below.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use openssl::{
    asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time},
    bn::BigNum,
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509Extension, X509Name, X509NameBuilder,
        extension::{BasicConstraints, KeyUsage, SubjectAlternativeName},
    },
};
use tempfile::TempDir;

/// The role's extension of Modbus/TCP Security.
const ROLE: &str = "1.3.6.1.4.1.50316.802.1";
const DAY: i64 = 24 * 60 * 60;

/// An authority, `ca.pem`, and what it has signed: `NAME.pem` and `NAME.key`.
pub(crate) struct Certificates {
    folder: TempDir,
    authority: X509,
    key: PKey<Private>,
}

/// What is to be signed.
#[derive(Clone, Default)]
pub(crate) struct Leaf {
    names: Vec<&'static str>,
    addresses: Vec<&'static str>,
    /// The content of each extension, DER as it is.
    roles: Vec<Vec<u8>>,
    /// Days from now on.
    valid: Option<(i64, i64)>,
}

impl Leaf {
    /// For whom loopback is.
    pub(crate) fn loopback() -> Self {
        Self { names: vec!["localhost"], addresses: vec!["127.0.0.1"], ..Self::default() }
    }

    /// For another host.
    pub(crate) fn named(name: &'static str) -> Self {
        Self { names: vec![name], ..Self::default() }
    }

    /// With one more role: a `UTF8String`.
    pub(crate) fn role(self, role: &str) -> Self {
        let length = u8::try_from(role.len()).unwrap();
        self.role_der(&[&[0x0C, length], role.as_bytes()].concat())
    }

    /// With one more role, in whatever form.
    pub(crate) fn role_der(mut self, der: &[u8]) -> Self {
        self.roles.push(der.to_vec());
        self
    }

    /// Valid from and to so many days from now.
    pub(crate) fn valid(mut self, from: i64, to: i64) -> Self {
        self.valid = Some((from, to));
        self
    }
}

impl Certificates {
    /// A new authority.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = new_key();
        // Authorities of one name would be told from each other by their signatures alone.
        let name = named(&format!("authority {}", folder.path().display()));
        let mut builder = builder(&name, &name, &key, (-2, 3650));
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let this = Self { folder, authority: builder.build(), key };
        this.write("ca", &this.authority, &this.key);
        this
    }

    /// With a server's certificate for loopback, `server`, and a client's without a role, `client`.
    pub(crate) fn usual() -> Self {
        let this = Self::new();
        this.issue("server", &Leaf::loopback());
        this.issue("client", &Leaf::default());
        this
    }

    /// Signs a new certificate for a new key.
    pub(crate) fn issue(&self, name: &str, leaf: &Leaf) {
        let key = new_key();
        let valid = leaf.valid.unwrap_or((-1, 30));
        let mut builder = builder(&named(name), self.authority.subject_name(), &key, valid);
        builder.append_extension(BasicConstraints::new().build().unwrap()).unwrap();
        if !(leaf.names.is_empty() && leaf.addresses.is_empty()) {
            let mut names = SubjectAlternativeName::new();
            for name in &leaf.names {
                names.dns(name);
            }
            for address in &leaf.addresses {
                names.ip(address);
            }
            let names = names.build(&builder.x509v3_context(Some(&self.authority), None)).unwrap();
            builder.append_extension(names).unwrap();
        }
        let oid = Asn1Object::from_str(ROLE).unwrap();
        for role in &leaf.roles {
            let content = Asn1OctetString::new_from_bytes(role).unwrap();
            builder.append_extension(X509Extension::new_from_der(&oid, false, &content).unwrap()).unwrap();
        }
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        self.write(name, &builder.build(), &key);
    }

    /// Where a file is: `ca.pem`, `server.key`.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub(crate) fn path(&self, name: &str) -> String {
        self.file(name).to_str().unwrap().to_owned()
    }

    /// Puts something else into a file.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).unwrap();
    }

    /// Of a certificate: SHA-256 in hexadecimal digits.
    pub(crate) fn fingerprint(&self, name: &str) -> String {
        let pem = fs::read(self.file(&format!("{name}.pem"))).unwrap();
        let digest = X509::from_pem(&pem).unwrap().digest(MessageDigest::sha256()).unwrap();
        digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    /// Writes a revocation list, `crl.pem`, with these certificates in it.
    pub(crate) fn revoke(&self, names: &[&str]) {
        let config = "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\n\
                      default_crl_days=2\n";
        self.put("ca.cnf", config);
        self.put("number", "01\n");
        self.put("index", "");
        let signed = ["-config", "ca.cnf", "-cert", "ca.pem", "-keyfile", "ca.key"];
        for name in names {
            openssl(self.folder.path(), &[&["ca", "-revoke", &format!("{name}.pem")], &signed[..]].concat());
        }
        openssl(self.folder.path(), &[&["ca", "-gencrl", "-out", "crl.pem"], &signed[..]].concat());
    }

    fn write(&self, name: &str, certificate: &X509, key: &PKey<Private>) {
        self.put(&format!("{name}.pem"), certificate.to_pem().unwrap());
        self.put(&format!("{name}.key"), key.private_key_to_pem_pkcs8().unwrap());
    }
}

/// Runs the openssl command.
pub(crate) fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn new_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn named(name: &str) -> X509Name {
    let mut builder = X509NameBuilder::new().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

fn builder(
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKey<Private>,
    (from, to): (i64, i64),
) -> X509Builder {
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(126, openssl::bn::MsbOption::ONE, false).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at(from)).unwrap();
    builder.set_not_after(&at(to)).unwrap();
    builder
}

fn at(days: i64) -> Asn1Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Asn1Time::from_unix(i64::try_from(now.as_secs()).unwrap() + days * DAY).unwrap()
}
