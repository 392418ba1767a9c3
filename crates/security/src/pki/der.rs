//! The few structures that OpenSSL's bindings neither build nor take apart, in DER.

use ::der::{
    Decode as _, Encode as _, Reader as _, Tag, TagNumber,
    asn1::{AnyRef, IntRef, ObjectIdentifier, OctetStringRef, Utf8StringRef},
};
use openssl::{
    asn1::{Asn1Object, Asn1OctetString},
    error::ErrorStack,
    x509::{X509Extension, X509ExtensionRef, X509Ref},
};

use super::{error::PkiError, revocation::Reason};

/// The role of whoever talks to a Modbus/TCP Security server (MB-TCP-Security v36, 8.4).
pub const MODBUS_ROLE: &str = "1.3.6.1.4.1.50316.802.1";

const AUTHORITY_KEY_ID: &str = "2.5.29.35";
const CRL_NUMBER: &str = "2.5.29.20";
const CRL_REASON: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.21");

/// One extension of a request.
pub(super) struct Extension {
    pub(super) oid: String,
    pub(super) value: Vec<u8>,
}

fn refused(error: ::der::Error) -> PkiError {
    PkiError::Misuse(format!("a DER structure can't be made or read: {error}"))
}

fn extension(oid: &str, value: &[u8]) -> Result<X509Extension, ErrorStack> {
    X509Extension::new_from_der(
        &*Asn1Object::from_str(oid)?,
        false,
        &*Asn1OctetString::new_from_bytes(value)?,
    )
}

/// A role, as `UTF8String`.
pub(super) fn role(role: &str) -> Result<X509Extension, PkiError> {
    let value = Utf8StringRef::new(role).and_then(|text| text.to_der()).map_err(refused)?;
    Ok(extension(MODBUS_ROLE, &value)?)
}

/// The role in an extension's value; nothing that isn't a `UTF8String` is one.
pub(super) fn role_of(value: &[u8]) -> Option<String> {
    Utf8StringRef::from_der(value).ok().map(|text| text.as_str().to_owned())
}

/// Points at the key that signs (RFC 5280, 4.2.1.1). The issuer's certificate names it.
pub(super) fn authority_key_id(issuer: &X509Ref) -> Result<X509Extension, PkiError> {
    let Some(key_id) = issuer.subject_key_id() else {
        return Err(PkiError::Misuse("the authority's certificate has no subject key identifier".to_owned()));
    };
    let tag = Tag::ContextSpecific { constructed: false, number: TagNumber::N0 };
    let key_id = AnyRef::new(tag, key_id.as_slice()).and_then(|it| it.to_der()).map_err(refused)?;
    Ok(extension(AUTHORITY_KEY_ID, &sequence(&key_id)?)?)
}

/// Counts the lists of one authority (RFC 5280, 5.2.3).
pub(super) fn crl_number(number: u64) -> Result<X509Extension, PkiError> {
    Ok(extension(CRL_NUMBER, &number.to_der().map_err(refused)?)?)
}

/// An entry of a revocation list with a reason behind what it has (RFC 5280, 5.3.1).
pub(super) fn with_reason(entry: &[u8], reason: Reason) -> Result<Vec<u8>, PkiError> {
    let code = AnyRef::new(Tag::Enumerated, &[reason.code()]).and_then(|it| it.to_der()).map_err(refused)?;
    let mut inner = CRL_REASON.to_der().map_err(refused)?;
    inner.extend(OctetStringRef::new(&code).and_then(|it| it.to_der()).map_err(refused)?);
    let extensions = sequence(&sequence(&inner)?)?;
    let mut content = AnyRef::from_der(entry).map_err(refused)?.value().to_vec();
    content.extend(extensions);
    sequence(&content)
}

/// Takes an extension of a request apart.
pub(super) fn parse(extension: &X509ExtensionRef) -> Result<Extension, PkiError> {
    let bytes = extension.to_der()?;
    let parsed = AnyRef::from_der(&bytes).and_then(|any| {
        any.sequence(|reader| {
            let oid: ObjectIdentifier = reader.decode()?;
            let _critical: Option<bool> = reader.decode()?;
            let value: OctetStringRef<'_> = reader.decode()?;
            Ok(Extension { oid: oid.to_string(), value: value.as_bytes().to_vec() })
        })
    });
    parsed.map_err(refused)
}

/// Whether a value of basicConstraints asks to become an authority.
pub(super) fn asks_for_authority(value: &[u8]) -> bool {
    let asks = AnyRef::from_der(value).and_then(|any| {
        any.sequence(|reader| {
            let is_authority: Option<bool> = reader.decode()?;
            let _path_length: Option<IntRef<'_>> = reader.decode()?;
            Ok(is_authority.unwrap_or(false))
        })
    });
    // What can't be read is taken for the worst.
    asks.unwrap_or(true)
}

fn sequence(content: &[u8]) -> Result<Vec<u8>, PkiError> {
    AnyRef::new(Tag::Sequence, content).and_then(|any| any.to_der()).map_err(refused)
}
