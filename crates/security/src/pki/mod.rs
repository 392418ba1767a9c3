//! An own public key infrastructure: a root, an authority for the gateway's side and one for devices, and what
//! they sign.
//!
//! Everything lives in one [`Folder`], with an index of all that was ever issued. The root's key may be
//! encrypted, or kept elsewhere and named when it is needed. Knows certificates and files; what a listener does
//! with them is [`crate::tls`]'s affair.

mod algorithm;
mod certificate;
mod crl;
mod der;
mod error;
mod folder;
mod index;
mod issue;
mod keys;
mod profile;
mod request;
mod revocation;
mod subject;
#[cfg(test)]
mod tests;

pub use algorithm::KeyAlgorithm;
pub use der::MODBUS_ROLE;
pub use error::PkiError;
pub use folder::{Folder, Setup};
pub use index::{Record, Revocation, Status};
pub use issue::{Issued, Order};
pub use keys::{KeySource, Passphrase};
pub use profile::Profile;
pub use request::Request;
pub use revocation::Reason;
pub use subject::Subject;

pub use crate::tls::AltName;
