//! Issues and renews certificates.

use std::path::PathBuf;

use openssl::{
    pkey::{PKey, Private, Public},
    x509::X509,
};

use super::{
    algorithm::KeyAlgorithm,
    certificate::{self, Signer, Template},
    error::PkiError,
    folder::Folder,
    index::{Record, Status},
    keys::{self, KeySource},
    profile::Profile,
    request::Request,
    subject::Subject,
};
use crate::tls::{public, read_certificates};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// What for.
    pub profile: Profile,
    /// Whom it names.
    pub subject: Subject,
    /// How long it lives; none: as the profile says.
    pub days: Option<u32>,
    /// Of its key, where that is made here.
    pub algorithm: KeyAlgorithm,
    /// The name of its files; none: the common name.
    pub name: Option<String>,
}

/// What was issued, and where it is.
#[derive(Debug, Clone)]
pub struct Issued {
    /// As the index has it.
    pub record: Record,
    /// The certificate, with its authority's behind it.
    pub certificate: PathBuf,
    /// Its key, where that was made here.
    pub key: Option<PathBuf>,
}

/// Whose key is certified.
enum Subscriber {
    /// One that is made here.
    Own(PKey<Private>),
    /// Somebody else's.
    Foreign(PKey<Public>),
}

impl Folder {
    /// Issues a certificate with a new key.
    pub fn issue(&mut self, order: &Order, source: &KeySource) -> Result<Issued, PkiError> {
        let key = order.algorithm.generate()?;
        self.issue_for(order, &Subscriber::Own(key), source)
    }

    /// Issues a certificate for a key that somebody else keeps. The order says whom it names: usually the
    /// request's subject.
    pub fn issue_requested(
        &mut self,
        order: &Order,
        request: &Request,
        source: &KeySource,
    ) -> Result<Issued, PkiError> {
        self.issue_for(order, &Subscriber::Foreign(request.key.clone()), source)
    }

    fn issue_for(
        &mut self,
        order: &Order,
        subscriber: &Subscriber,
        source: &KeySource,
    ) -> Result<Issued, PkiError> {
        if order.profile.is_authority() {
            let what = format!(
                "{0} was made by `pki init`; `pki renew {0}` gives it a new certificate",
                order.profile
            );
            return Err(PkiError::Misuse(what));
        }
        order.subject.clone().complete(order.profile)?;
        let name = file_name(order)?;
        if self.index.has(&name) {
            return Err(PkiError::NameTaken(name));
        }
        self.certify(order, &name, subscriber, source)
    }

    /// Signs, writes the files, and then the index: a certificate that isn't in the index was never handed out.
    fn certify(
        &mut self,
        order: &Order,
        name: &str,
        subscriber: &Subscriber,
        source: &KeySource,
    ) -> Result<Issued, PkiError> {
        let subject = order.subject.clone().complete(order.profile)?;
        let (issuer, issuer_key) = self.signer(order.profile.issuer(), source)?;
        let key = match subscriber {
            Subscriber::Own(key) => public(key)?,
            Subscriber::Foreign(key) => key.clone(),
        };
        let days = order.days.unwrap_or(order.profile.days());
        let template = Template { profile: order.profile, subject: &subject, key: &key, days };
        let signer = Signer { certificate: Some(&issuer), key: &issuer_key };
        let certificate = certificate::make(&template, signer)?;
        let record = Record::of(&certificate, order.profile, name, &subject)?;
        self.index.certificates.push(record.clone());
        self.index.save(&self.path)?;
        let key_file = self.issued_key_file(name);
        let key = match subscriber {
            Subscriber::Own(key) => {
                keys::write(&key_file, key, None)?;
                Some(key_file)
            }
            Subscriber::Foreign(_) => None,
        };
        let file = self.issued_file(name);
        keys::replace(&file, &chain(&certificate, &issuer)?, 0o644)?;
        Ok(Issued { record, certificate: file, key })
    }

    /// Gives a certificate a successor with the same names: with a new key where the key was made here, with
    /// the same one where it wasn't, and for authorities, so that what they signed stays as it is.
    pub fn renew(&mut self, wanted: &str, days: Option<u32>, source: &KeySource) -> Result<Issued, PkiError> {
        let at = self.index.find(wanted)?;
        let old = self.index.certificates[at].clone();
        if old.status(jiff::Timestamp::now()) == Status::Revoked {
            return Err(PkiError::Revoked(old.serial));
        }
        let issued = if old.profile.is_authority() {
            self.renew_authority(old.profile, &old.subject(), days, source)?
        } else {
            self.renew_issued(&old, days, source)?
        };
        self.index.certificates[at].superseded_by = Some(issued.record.serial.clone());
        self.index.save(&self.path)?;
        Ok(issued)
    }

    fn renew_issued(
        &mut self,
        old: &Record,
        days: Option<u32>,
        source: &KeySource,
    ) -> Result<Issued, PkiError> {
        let before = read_certificates(&self.issued_file(&old.name))?.swap_remove(0).public_key()?;
        let key_file = self.issued_key_file(&old.name);
        let subscriber = if key_file.exists() {
            Subscriber::Own(KeyAlgorithm::of(&before).generate()?)
        } else {
            Subscriber::Foreign(before)
        };
        let order = Order {
            profile: old.profile,
            subject: old.subject(),
            days,
            algorithm: KeyAlgorithm::default(),
            name: None,
        };
        self.certify(&order, &old.name, &subscriber, source)
    }

    fn renew_authority(
        &mut self,
        profile: Profile,
        subject: &Subject,
        days: Option<u32>,
        source: &KeySource,
    ) -> Result<Issued, PkiError> {
        let (root, root_key) = self.signer(Profile::Root, source)?;
        let old = self.authority(profile)?;
        let key = old.public_key()?;
        let days = days.unwrap_or(profile.days());
        let template = Template { profile, subject, key: &key, days };
        let issuer = (profile != Profile::Root).then_some(&*root);
        let certificate = certificate::make(&template, Signer { certificate: issuer, key: &root_key })?;
        let record = Record::of(&certificate, profile, profile.as_str(), subject)?;
        self.index.certificates.push(record.clone());
        let file = self.certificate_file(profile);
        keys::replace(&file, &certificate.to_pem()?, 0o644)?;
        Ok(Issued { record, certificate: file, key: None })
    }
}

fn chain(certificate: &X509, issuer: &X509) -> Result<Vec<u8>, PkiError> {
    let mut pem = certificate.to_pem()?;
    pem.extend(issuer.to_pem()?);
    Ok(pem)
}

fn file_name(order: &Order) -> Result<String, PkiError> {
    let name = order.name.as_ref().unwrap_or(&order.subject.common_name);
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
    let is_reserved = Profile::ALL.iter().any(|profile| profile.as_str() == name && profile.is_authority());
    if is_reserved
        || name.is_empty()
        || name.len() > 100
        || name.starts_with('.')
        || !name.chars().all(is_allowed)
    {
        return Err(PkiError::FileName(name.clone()));
    }
    Ok(name.clone())
}
