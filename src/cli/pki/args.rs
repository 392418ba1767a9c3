//! What `bifrost pki` is told.

use std::path::PathBuf;

use bifrost_security::pki::{AltName, KeyAlgorithm, Profile, Reason};
use clap::{Args, Subcommand};

/// What `pki` is told.
#[derive(Debug, Clone, Args)]
pub struct PkiArgs {
    #[command(subcommand)]
    pub(super) command: Command,
    /// The folder in which authorities, certificates and their index live
    #[arg(long, global = true, default_value = "pki", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// Print what was done, or is there, as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Subcommand)]
pub(super) enum Command {
    /// Make a root, and below it an authority for the gateway's side and one for devices
    Init(InitArgs),
    /// Issue a certificate: with a new key, or for a request
    Issue(IssueArgs),
    /// Give a certificate a successor with the same names
    Renew(RenewArgs),
    /// Revoke a certificate, and renew its authority's revocation list
    Revoke(RevokeArgs),
    /// Renew the revocation list of every authority whose key is at hand
    Crl(KeyArgs),
    /// List all that was ever issued
    List,
}

#[derive(Debug, Clone, Args)]
pub(super) struct InitArgs {
    /// What the authorities are called
    #[arg(long, default_value = "Bifrost", value_name = "NAME")]
    pub(super) name: String,
    /// Of the authorities' keys: p256, p384 or rsa-4096
    #[arg(long, default_value = "p256", value_name = "ALGORITHM")]
    pub(super) algorithm: KeyAlgorithm,
    /// Encrypt the root's key with the first line of this file; or set `BIFROST_PKI_PASSPHRASE`
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Leave the root's key as it is
    #[arg(long)]
    pub(super) no_passphrase: bool,
}

#[derive(Debug, Clone, Args)]
pub(super) struct IssueArgs {
    /// server, client, device or signing
    #[arg(value_parser = super::leaf, value_name = "PROFILE")]
    pub(super) profile: Profile,
    /// Whom it is for; of a request, instead of what that says
    #[arg(required_unless_present = "csr", value_name = "NAME")]
    pub(super) common_name: Option<String>,
    /// A host name or address under which that is reached; more than once
    #[arg(long, value_name = "NAME")]
    pub(super) san: Vec<AltName>,
    /// Its role at Modbus/TCP Security servers; for devices
    #[arg(long, value_name = "ROLE")]
    pub(super) role: Option<String>,
    /// A request (PKCS#10): its key is certified, and stays where it is
    #[arg(long, value_name = "FILE")]
    pub(super) csr: Option<PathBuf>,
    /// Of the new key: p256, p384 or rsa-4096
    #[arg(long, default_value = "p256", value_name = "ALGORITHM", conflicts_with = "csr")]
    pub(super) algorithm: KeyAlgorithm,
    /// How long it lives: 90 for servers, 730 for devices and 365 for others unless given
    #[arg(long, value_name = "N")]
    pub(super) days: Option<u32>,
    /// What its files are called; NAME unless given
    #[arg(long = "name", value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RenewArgs {
    /// Its serial number, the name of its files, or root, gateway-ca or device-ca
    pub(super) certificate: String,
    /// How long the new one lives; as issued unless given
    #[arg(long, value_name = "N")]
    pub(super) days: Option<u32>,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

#[derive(Debug, Clone, Args)]
pub(super) struct RevokeArgs {
    /// Its serial number, or the name of its files
    pub(super) certificate: String,
    /// unspecified, key-compromise, ca-compromise, affiliation-changed, superseded, cessation-of-operation or
    /// privilege-withdrawn
    #[arg(long, default_value = "unspecified", value_name = "REASON")]
    pub(super) reason: Reason,
    #[command(flatten)]
    pub(super) key: KeyArgs,
}

/// Where the key of the authority that signs comes from.
#[derive(Debug, Clone, Args)]
pub(super) struct KeyArgs {
    /// The key of the authority that signs, when it isn't kept in the folder
    #[arg(long, value_name = "FILE")]
    pub(super) ca_key: Option<PathBuf>,
    /// The first line of this file decrypts that key; or set `BIFROST_PKI_PASSPHRASE`
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}
