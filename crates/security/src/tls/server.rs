//! A TLS server's identity: what it shows, what it asks of clients, and how both are replaced while it runs.
//!
//! Each handshake takes what is current when its client begins; connections that exist keep what they have.
//! Versions, suites and whether clients are asked stay as they were at the start.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use openssl::{
    error::ErrorStack,
    ssl::{
        ClientHelloResponse, SslAcceptor, SslAcceptorBuilder, SslContext, SslMethod, SslOptions,
        SslSessionCacheMode, SslVerifyMode,
    },
};

use super::{
    files::{Credentials, PemError, timestamp},
    name::{self, AltName},
    peer::Peer,
    settings::{ClientAuth, ServerError, ServerSettings},
    suites,
    trust::Trust,
};

/// Groups for the key exchange, the preferred first.
const GROUPS: &str = "X25519:P-256:P-384";

/// What a server shows, and asks of clients. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct ServerIdentity {
    settings: Arc<ServerSettings>,
    current: Arc<RwLock<Arc<Current>>>,
}

/// What new handshakes use.
struct Current {
    context: SslContext,
    names: Vec<AltName>,
    peer: Peer,
    not_after: Timestamp,
    /// Whom clients' certificates must come from.
    trust: Option<Trust>,
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fingerprint = self.fingerprint();
        f.debug_struct("ServerIdentity").field("fingerprint", &fingerprint).finish_non_exhaustive()
    }
}

impl ServerIdentity {
    /// Reads and checks every file that the settings name.
    pub fn load(settings: ServerSettings) -> Result<Self, ServerError> {
        suites::check_suites(settings.min_version, &settings.cipher_suites).map_err(ServerError::Suites)?;
        let current = current(&settings, &read(&settings)?, client_trust(&settings)?.as_ref())?;
        Ok(Self { settings: Arc::new(settings), current: Arc::new(RwLock::new(Arc::new(current))) })
    }

    /// Reads the files again: certificate, key, authorities and revocation lists. When one is no good,
    /// everything stays as it was. Answers whether another certificate is shown from now on.
    pub fn reload(&self) -> Result<bool, ServerError> {
        self.replace(&read(&self.settings)?)
    }

    /// Shows this certificate from now on, and reads authorities and revocation lists of clients again.
    /// Answers whether it is another than before.
    pub fn replace(&self, credentials: &Credentials) -> Result<bool, ServerError> {
        let trust = client_trust(&self.settings)?;
        let next = Arc::new(current(&self.settings, credentials, trust.as_ref())?);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let differs = current.peer != next.peer;
        *current = next;
        Ok(differs)
    }

    /// For a listener: what each client gets is looked up when it begins.
    pub fn acceptor(&self) -> Result<SslAcceptorBuilder, ServerError> {
        let trust = client_trust(&self.settings)?;
        let mut builder = configured(&self.settings, &read(&self.settings)?, trust.as_ref())?;
        let identity = self.clone();
        builder.set_client_hello_callback(move |ssl, _alert| {
            ssl.set_ssl_context(&identity.current().context)?;
            Ok(ClientHelloResponse::SUCCESS)
        });
        Ok(builder)
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a client's certificate has been revoked since it was shown, as the lists say that were read last.
    pub fn has_revoked(&self, peer: &Peer) -> bool {
        self.current().trust.as_ref().is_some_and(|trust| trust.has_revoked(peer))
    }

    /// What it was told.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// Whether the certificate is for this host: a name or an address.
    pub fn answers_to(&self, host: &str) -> bool {
        self.current().names.iter().any(|name| name.matches(host))
    }

    /// Names and addresses that the certificate is for.
    pub fn names(&self) -> Vec<AltName> {
        self.current().names.clone()
    }

    /// SHA-256 of the certificate's DER form, lower case hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.current().peer.fingerprint.clone()
    }

    /// Until when the certificate is valid.
    pub fn not_after(&self) -> Timestamp {
        self.current().not_after
    }
}

fn read(settings: &ServerSettings) -> Result<Credentials, PemError> {
    let credentials = Credentials::load(&settings.certificate, &settings.key)?;
    if let Some(authorities) = &settings.authorities {
        Trust::load(authorities, None)?.check(&credentials.chain, &settings.certificate)?;
    }
    Ok(credentials)
}

fn client_trust(settings: &ServerSettings) -> Result<Option<Trust>, ServerError> {
    if settings.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let authorities = settings.client_authorities.as_ref().ok_or(ServerError::NoClientAuthorities)?;
    Ok(Some(Trust::load(authorities, settings.revocation_lists.as_deref())?))
}

fn current(
    settings: &ServerSettings,
    credentials: &Credentials,
    trust: Option<&Trust>,
) -> Result<Current, ServerError> {
    let certificate = credentials.certificate();
    Ok(Current {
        context: configured(settings, credentials, trust)?.build().into_context(),
        names: name::names_of(certificate),
        peer: Peer::of(certificate)?,
        not_after: timestamp(certificate.not_after())?,
        trust: trust.cloned(),
    })
}

fn configured(
    settings: &ServerSettings,
    credentials: &Credentials,
    trust: Option<&Trust>,
) -> Result<SslAcceptorBuilder, ErrorStack> {
    // Its options already turn off compression and everything before TLS 1.3.
    let mut builder = SslAcceptor::mozilla_modern_v5(SslMethod::tls_server())?;
    builder.set_min_proto_version(Some(settings.min_version.openssl()))?;
    let suites = suites::lists(&settings.cipher_suites);
    builder.set_ciphersuites(&suites.tls13)?;
    if !suites.tls12.is_empty() {
        builder.set_cipher_list(&suites.tls12)?;
    }
    builder.set_groups_list(GROUPS)?;
    builder.set_options(
        SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    show(&mut builder, credentials)?;
    ask(&mut builder, settings.client_auth, trust)?;
    Ok(builder)
}

fn show(builder: &mut SslAcceptorBuilder, credentials: &Credentials) -> Result<(), ErrorStack> {
    builder.set_certificate(credentials.certificate())?;
    for authority in credentials.chain.iter().skip(1) {
        builder.add_extra_chain_cert(authority.clone())?;
    }
    builder.set_private_key(&credentials.key)?;
    builder.check_private_key()
}

/// Sessions are resumed only under the trust that they began under: their number changes with it, so that
/// whoever was revoked since must show a certificate again, and fails.
fn ask(builder: &mut SslAcceptorBuilder, auth: ClientAuth, trust: Option<&Trust>) -> Result<(), ErrorStack> {
    builder.set_session_cache_mode(SslSessionCacheMode::SERVER);
    let Some(trust) = trust else { return builder.set_session_id_context(b"bifrost") };
    builder.set_session_id_context(&trust.digest()?)?;
    builder.set_cert_store(trust.store()?);
    builder.set_client_ca_list(trust.names()?);
    builder.set_verify(match auth {
        ClientAuth::None => SslVerifyMode::NONE,
        ClientAuth::Optional => SslVerifyMode::PEER,
        ClientAuth::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
    });
    Ok(())
}
