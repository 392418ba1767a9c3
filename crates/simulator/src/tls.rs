//! The door of a PLC that speaks Modbus/TCP Security: TLS with certificates on both sides, and what the client's
//! role grants it.
//!
//! Files are read when the PLC is started. A client without a certificate isn't let in (TLS alert); one whose
//! role has no right is, and is refused request by request.

use std::{
    fmt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use openssl::{
    error::ErrorStack,
    ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod, SslVerifyMode, SslVersion},
};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpStream, time::timeout};
use tokio_openssl::SslStream;

use crate::{
    SimulatorError,
    rights::{Grants, Right},
    role::Role,
};

/// How a PLC is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// Its certificate, with those that lead to its authority behind it.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
    /// Authorities whose clients are let in.
    pub ca_file: PathBuf,
    /// TLS 1.2 and nothing newer, as many real devices have it.
    #[serde(default)]
    pub only_tls_1_2: bool,
    /// What which role may do; absent: every client may do everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights: Option<Vec<Right>>,
    /// How long a handshake may take.
    #[serde(default = "handshake_timeout", with = "humantime_serde")]
    pub handshake_timeout: Duration,
}

fn handshake_timeout() -> Duration {
    Duration::from_secs(10)
}

impl TlsSettings {
    /// With these files, and no rights table.
    pub fn new(
        cert_file: impl Into<PathBuf>,
        key_file: impl Into<PathBuf>,
        ca_file: impl Into<PathBuf>,
    ) -> Self {
        Self {
            cert_file: cert_file.into(),
            key_file: key_file.into(),
            ca_file: ca_file.into(),
            only_tls_1_2: false,
            rights: None,
            handshake_timeout: handshake_timeout(),
        }
    }

    /// Reads the files.
    pub(crate) fn lock(&self) -> Result<Lock, SimulatorError> {
        let whole = |error: ErrorStack| SimulatorError::setting("tls", words(&error));
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(whole)?;
        let at = |key: &'static str, path: &Path| {
            let path = path.to_owned();
            move |error: ErrorStack| SimulatorError::Tls { key, path, reason: words(&error) }
        };
        let (cert, key, ca) = (&self.cert_file, &self.key_file, &self.ca_file);
        builder.set_certificate_chain_file(cert).map_err(at("tls.cert_file", cert))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(at("tls.key_file", key))?;
        builder.check_private_key().map_err(at("tls.key_file", key))?;
        builder.set_ca_file(ca).map_err(at("tls.ca_file", ca))?;
        builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        if self.only_tls_1_2 {
            builder.set_max_proto_version(Some(SslVersion::TLS1_2)).map_err(whole)?;
        }
        let rights = self.rights.as_deref().map(Arc::from);
        Ok(Lock { acceptor: builder.build(), rights, limit: self.handshake_timeout })
    }
}

fn words(error: &ErrorStack) -> String {
    let reasons: Vec<_> = error.errors().iter().filter_map(openssl::error::Error::reason).collect();
    reasons.join(", ")
}

/// What lets clients in.
#[derive(Clone)]
pub(crate) struct Lock {
    acceptor: SslAcceptor,
    rights: Option<Arc<[Right]>>,
    limit: Duration,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("rights", &self.rights).finish_non_exhaustive()
    }
}

impl Lock {
    /// Makes the handshake with a client; an error is why it isn't let in.
    pub(crate) async fn open(&self, stream: TcpStream) -> Result<(SslStream<TcpStream>, Grants), String> {
        let ssl = Ssl::new(self.acceptor.context()).map_err(|error| words(&error))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| words(&error))?;
        let accepted = timeout(self.limit, Pin::new(&mut stream).accept()).await;
        accepted
            .map_err(|_| format!("no handshake within {:?}", self.limit))?
            .map_err(|error| error.to_string())?;
        let role = stream.ssl().peer_certificate().map_or(Role::None, |client| Role::of(&client));
        let grants = Grants::of(&role, self.rights.as_deref());
        Ok((stream, grants))
    }
}
