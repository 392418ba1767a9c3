//! Makes a revocation list (RFC 5280, 5).

use jiff::Timestamp;
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    pkey::{PKeyRef, Private},
    x509::{X509Crl, X509CrlBuilder, X509Ref, X509Revoked, X509RevokedBuilder},
};

use super::{
    algorithm, der,
    error::PkiError,
    index::{Record, Revocation},
    profile::Profile,
    revocation::Reason,
};

/// Makes and signs a list of an authority.
pub(super) fn make<'a>(
    authority: Profile,
    issuer: &X509Ref,
    key: &PKeyRef<Private>,
    number: u64,
    revoked: impl Iterator<Item = (&'a Record, &'a Revocation)>,
) -> Result<X509Crl, PkiError> {
    let now = Timestamp::now().as_second();
    let next = now + i64::from(authority.crl_days()) * 86_400;
    let mut builder = X509CrlBuilder::new()?;
    builder.set_issuer_name(issuer.subject_name())?;
    // As certificates: somebody's clock may be behind.
    builder.set_last_update(&*Asn1Time::from_unix(now - 300)?)?;
    builder.set_next_update(&*Asn1Time::from_unix(next)?)?;
    builder.append_extension(der::authority_key_id(issuer)?)?;
    builder.append_extension(der::crl_number(number)?)?;
    for (record, why) in revoked {
        builder.add_revoked(entry(record, why)?)?;
    }
    builder.sort()?;
    builder.sign(key, algorithm::digest_for(key))?;
    Ok(builder.build()?)
}

fn entry(record: &Record, why: &Revocation) -> Result<X509Revoked, PkiError> {
    let mut entry = X509RevokedBuilder::new()?;
    entry.set_serial_number(&*BigNum::from_hex_str(&record.serial)?.to_asn1_integer()?)?;
    entry.set_revocation_date(&*Asn1Time::from_unix(why.at.as_second())?)?;
    let entry = entry.build();
    // "Unspecified" is said by saying nothing (RFC 5280, 5.3.1).
    if why.reason == Reason::Unspecified {
        return Ok(entry);
    }
    Ok(X509Revoked::from_der(&der::with_reason(&entry.to_der()?, why.reason)?)?)
}
