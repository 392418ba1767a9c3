//! Makes one certificate (RFC 5280): what every certificate has, and what its profile adds.

use jiff::Timestamp;
use openssl::{
    asn1::{Asn1Integer, Asn1Time},
    bn::BigNum,
    error::ErrorStack,
    nid::Nid,
    pkey::{PKeyRef, Private, Public},
    x509::{
        X509, X509Builder, X509Name, X509NameRef, X509Ref,
        extension::{SubjectAlternativeName, SubjectKeyIdentifier},
    },
};

use super::{algorithm, der, error::PkiError, profile::Profile, subject::Subject};
use crate::tls::AltName;

const DAY: i64 = 86_400;

/// Clocks of others may be behind by so much.
const BACKDATED: i64 = 300;

/// Who signs.
#[derive(Clone, Copy)]
pub(super) struct Signer<'a> {
    /// Its certificate; none: it signs itself.
    pub(super) certificate: Option<&'a X509Ref>,
    pub(super) key: &'a PKeyRef<Private>,
}

/// What is certified.
pub(super) struct Template<'a> {
    pub(super) profile: Profile,
    pub(super) subject: &'a Subject,
    pub(super) key: &'a PKeyRef<Public>,
    pub(super) days: u32,
}

/// Makes and signs it. It doesn't outlive who signs it.
pub(super) fn make(template: &Template<'_>, signer: Signer<'_>) -> Result<X509, PkiError> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial()?)?;
    let name = name(&template.subject.common_name)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(signer.certificate.map_or(&*name, X509Ref::subject_name))?;
    builder.set_pubkey(template.key)?;
    set_validity(&mut builder, template.days, signer.certificate)?;
    for extension in template.profile.extensions()? {
        builder.append_extension(extension)?;
    }
    append_names(&mut builder, template.subject)?;
    let key_id = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(key_id)?;
    if let Some(issuer) = signer.certificate {
        builder.append_extension(der::authority_key_id(issuer)?)?;
    }
    builder.sign(signer.key, algorithm::digest_for(signer.key))?;
    Ok(builder.build())
}

fn append_names(builder: &mut X509Builder, subject: &Subject) -> Result<(), PkiError> {
    if !subject.names.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for name in &subject.names {
            match name {
                AltName::Dns(name) => names.dns(name),
                AltName::Ip(address) => names.ip(&address.to_string()),
            };
        }
        let names = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(names)?;
    }
    if let Some(role) = &subject.role {
        builder.append_extension(der::role(role)?)?;
    }
    Ok(())
}

fn set_validity(builder: &mut X509Builder, days: u32, issuer: Option<&X509Ref>) -> Result<(), PkiError> {
    let from = Timestamp::now().as_second() - BACKDATED;
    let mut until = from + i64::from(days) * DAY;
    if let Some(issuer) = issuer {
        let ends = not_after(issuer)?.as_second();
        if ends <= from + BACKDATED {
            let who = common_name(issuer.subject_name());
            return Err(PkiError::Lifetime(format!("the certificate of {who} has expired; renew it first")));
        }
        until = until.min(ends);
    }
    if days == 0 {
        return Err(PkiError::Lifetime("no certificate lives for 0 days".to_owned()));
    }
    builder.set_not_before(&*Asn1Time::from_unix(from)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(until)?)?;
    Ok(())
}

/// 128 random bits, the first of them zero and the second one: positive, and always as long.
fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut bytes: [u8; 16] = [0; 16];
    openssl::rand::rand_bytes(&mut bytes)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    BigNum::from_slice(&bytes)?.to_asn1_integer()
}

fn name(common_name: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    name.append_entry_by_nid(Nid::COMMONNAME, common_name)?;
    Ok(name.build())
}

/// The common name; empty where there is none.
pub(super) fn common_name(name: &X509NameRef) -> String {
    let entry = name.entries_by_nid(Nid::COMMONNAME).next();
    entry.and_then(|entry| entry.data().to_string().ok()).unwrap_or_default()
}

/// From when on it is valid.
pub(super) fn not_before(certificate: &X509Ref) -> Result<Timestamp, PkiError> {
    crate::tls::timestamp(certificate.not_before()).map_err(PkiError::from)
}

/// Until when it is valid.
pub(super) fn not_after(certificate: &X509Ref) -> Result<Timestamp, PkiError> {
    crate::tls::timestamp(certificate.not_after()).map_err(PkiError::from)
}
