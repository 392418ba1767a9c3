//! Who somebody is, what is encrypted with which certificate, and what can be proven later.
//!
//! Libraries only: no actor, no HTTP, no configuration file. Cryptography is OpenSSL's and `RustCrypto`'s.

pub mod accounts;
pub mod audit;
pub mod pki;
pub mod tls;
