//! The client's side of TLS, from files: whom it trusts, who it is, and how old a version it bears.
//!
//! One way for PLCs and brokers. Certificates are always verified: against authorities, for a name, or by a
//! fingerprint; there is no way to leave that out.

use std::{
    io,
    net::IpAddr,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use openssl::{
    error::ErrorStack,
    ssl::{ConnectConfiguration, SslConnector, SslFiletype, SslMethod, SslVerifyMode, SslVersion},
    x509::{
        X509StoreContextRef, X509VerifyResult,
        store::{X509Lookup, X509StoreBuilder},
        verify::X509VerifyFlags,
    },
};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_openssl::SslStream;

use super::{
    client_error::{HandshakeError, explain, explain_later},
    client_files::{self as files, FileError},
    fingerprint::Fingerprint,
};

/// What an encrypted connection is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct ClientTls {
    /// Authorities that are trusted; absent: the system's, or with a pin none.
    pub ca_file: Option<PathBuf>,
    /// Own certificate, with those that lead to its authority behind it.
    pub cert_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// Revocation lists of the authorities.
    pub crl_file: Option<PathBuf>,
    /// Whom the server's certificate has to be for, and whom it is asked for; absent: the host connected to.
    pub server_name: Option<String>,
    /// The one certificate that is trusted; then the name is of no importance unless it is given.
    pub pinned_sha256: Option<Fingerprint>,
    /// The oldest version.
    pub min_version: MinVersion,
    /// Protocols that are offered, the dearest first.
    pub alpn: Vec<String>,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MinVersion {
    /// 1.2, for what has nothing newer.
    #[serde(rename = "1.2")]
    V12,
    /// 1.3.
    #[default]
    #[serde(rename = "1.3")]
    V13,
}

/// Why there is no encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The two ends didn't come to terms.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// OpenSSL can't be set up so.
    #[error("OpenSSL can't be set up: {0}")]
    Setup(String),
}

impl From<ErrorStack> for ClientError {
    fn from(error: ErrorStack) -> Self {
        Self::Setup(files::words(&error))
    }
}

/// Suites of TLS 1.2: those with forward secrecy and authenticated encryption.
const SUITES: &str = "ECDHE+AESGCM:ECDHE+CHACHA20";

impl ClientTls {
    /// Reads and checks all files.
    pub fn check(&self) -> Result<(), ClientError> {
        self.connector().map(drop)
    }

    /// Reads all files. Blocks on them: not for a thread that others wait for.
    pub fn connector(&self) -> Result<Connector, ClientError> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(match self.min_version {
            MinVersion::V12 => SslVersion::TLS1_2,
            MinVersion::V13 => SslVersion::TLS1_3,
        }))?;
        builder.set_cipher_list(SUITES)?;
        if self.ca_file.is_some() || self.crl_file.is_some() || self.pinned_sha256.is_some() {
            builder.set_cert_store(self.store()?.build());
        }
        match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => {
                let identity = files::identity(cert, key)?;
                builder.set_certificate(&identity.leaf)?;
                builder.set_private_key(&identity.key)?;
                for above in identity.chain {
                    builder.add_extra_chain_cert(above)?;
                }
            }
            (Some(cert), None) => {
                return Err(
                    files::bad("cert_file", cert, "needs its private key; name it in key_file").into()
                );
            }
            (None, Some(key)) => {
                return Err(files::bad("key_file", key, "needs its certificate; name it in cert_file").into());
            }
            (None, None) => {}
        }
        if !self.alpn.is_empty() {
            builder.set_alpn_protos(&wire_form(&self.alpn)?)?;
        }
        let (name, pin) = (self.server_name.clone(), self.pinned_sha256);
        let chain = self.ca_file.is_some();
        Ok(Connector { inner: builder.build(), name, pin, chain })
    }

    fn store(&self) -> Result<X509StoreBuilder, ClientError> {
        let mut store = X509StoreBuilder::new()?;
        let mut flags = X509VerifyFlags::PARTIAL_CHAIN;
        if let Some(file) = &self.ca_file {
            for authority in files::authorities("ca_file", file)? {
                store.add_cert(authority)?;
            }
        } else if self.pinned_sha256.is_none() {
            store.set_default_paths()?;
        }
        if let Some(file) = &self.crl_file {
            files::revocations("crl_file", file)?;
            let lookup = store.add_lookup(X509Lookup::file())?;
            lookup
                .load_crl_file(file, SslFiletype::PEM)
                .map_err(|error| files::bad("crl_file", file, files::words(&error)))?;
            flags |= X509VerifyFlags::CRL_CHECK;
        }
        store.set_flags(flags)?;
        Ok(store)
    }
}

/// Each with its length in front (RFC 7301).
fn wire_form(protocols: &[String]) -> Result<Vec<u8>, ClientError> {
    let mut wire = Vec::new();
    for protocol in protocols {
        let length = u8::try_from(protocol.len()).ok().filter(|length| *length > 0);
        let length = length.ok_or_else(|| {
            ClientError::Setup(format!("{protocol:?} in alpn must have 1 to 255 bytes; correct it"))
        })?;
        wire.push(length);
        wire.extend_from_slice(protocol.as_bytes());
    }
    Ok(wire)
}

/// Ready for one connection or more.
#[derive(Clone)]
pub struct Connector {
    inner: SslConnector,
    name: Option<String>,
    pin: Option<Fingerprint>,
    /// Whether authorities count beside the pin.
    chain: bool,
}

impl Connector {
    /// Encrypts a connection to a host. Keeps no time: whoever waits sets the limit.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<ClientStream<S>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.name.as_deref().unwrap_or(host).to_owned();
        let stranger = Arc::new(OnceLock::new());
        let ssl = self.configured(&name, &stranger)?.into_ssl(&name)?;
        let mut stream = SslStream::new(ssl, stream)?;
        if let Err(error) = Pin::new(&mut stream).connect().await {
            if let Some(shown) = stranger.get() {
                return Err(HandshakeError::WrongPin { shown: shown.to_string() }.into());
            }
            return Err(explain(&error, stream.ssl().verify_result(), &name).into());
        }
        self.check_pin(&stream)?;
        Ok(ClientStream(stream))
    }

    /// `stranger`: takes the fingerprint of a certificate that isn't the pinned one.
    fn configured(
        &self,
        name: &str,
        stranger: &Arc<OnceLock<Fingerprint>>,
    ) -> Result<ConnectConfiguration, ErrorStack> {
        let mut configuration = self.inner.configure()?;
        configuration.set_use_server_name_indication(name.parse::<IpAddr>().is_err());
        if let Some(pin) = self.pin {
            configuration.set_verify_hostname(self.name.is_some());
            let (chain, stranger) = (self.chain, Arc::clone(stranger));
            configuration.set_verify_callback(SslVerifyMode::PEER, move |fine, context| {
                is_acceptable(pin, chain, fine, context, &stranger)
            });
        }
        Ok(configuration)
    }

    /// The callback has seen to it already; that it was asked at all isn't left to trust.
    fn check_pin<S>(&self, stream: &SslStream<S>) -> Result<(), HandshakeError> {
        let Some(pin) = self.pin else { return Ok(()) };
        match stream.ssl().peer_certificate().as_deref().and_then(Fingerprint::of) {
            Some(shown) if shown == pin => Ok(()),
            Some(shown) => Err(HandshakeError::WrongPin { shown: shown.to_string() }),
            None => Err(HandshakeError::Unacceptable("it shows none".to_owned())),
        }
    }
}

/// What a pin doesn't make up for: certificates out of date (9, 10) and another name than was asked for (62,
/// 64), as `x509_vfy.h` numbers them.
const UNFORGIVEN: [i32; 4] = [9, 10, 62, 64];

/// Judges one certificate of the chain, or one flaw of it. Without authorities (`chain`) the pin stands for
/// all of them.
fn is_acceptable(
    pin: Fingerprint,
    chain: bool,
    fine: bool,
    context: &mut X509StoreContextRef,
    stranger: &OnceLock<Fingerprint>,
) -> bool {
    if !fine && (chain || UNFORGIVEN.contains(&context.error().as_raw())) {
        return false;
    }
    if context.error_depth() == 0 {
        let shown = context.current_cert().and_then(Fingerprint::of);
        if shown != Some(pin) {
            if let Some(shown) = shown {
                // The first stays; there is but one at this depth.
                let _ = stranger.set(shown);
            }
            context.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
            return false;
        }
    }
    if !fine {
        context.set_error(X509VerifyResult::OK);
    }
    true
}

/// An encrypted connection. What goes wrong on it later is told in the same words as during the handshake:
/// with TLS 1.3 that is when a server refuses a client's certificate.
#[derive(Debug)]
pub struct ClientStream<S>(SslStream<S>);

impl<S> ClientStream<S> {
    /// What is encrypted.
    pub fn get_ref(&self) -> &S {
        self.0.get_ref()
    }

    /// The version that both ends agreed on, such as `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        self.0.ssl().version_str()
    }

    /// The protocol that both ends agreed on.
    pub fn alpn(&self) -> Option<String> {
        self.0.ssl().selected_alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer).map_err(explain_later)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes).map_err(explain_later)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(explain_later)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context).map_err(explain_later)
    }
}
