//! How the connection is encrypted: TLS 1.3 alone, whatever the server would also take.

use std::{path::Path, sync::Arc};

use bifrost_security::tls::ClientError;
use nats::rustls::{
    ClientConfig, RootCertStore,
    client::WebPkiServerVerifier,
    crypto::ring,
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    version::TLS13,
};

use super::error::NatsError;
use crate::broker::TlsSettings;

/// Builds the client's side from the settings; reads files. The provider is named, since a process with two of
/// them has no default one.
pub(super) fn client_config(settings: &TlsSettings) -> Result<ClientConfig, NatsError> {
    settings.client().check().map_err(unusable)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| bad("tls", error))?;
    let roots = Arc::new(roots(settings.ca_file.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider);
    let verifier = match &settings.crl_file {
        None => verifier,
        Some(file) => verifier
            .with_crls(revocations(file)?)
            .only_check_end_entity_revocation()
            .enforce_revocation_expiration(),
    };
    let verifier = verifier.build().map_err(|error| bad("tls.ca_file", error))?;
    let builder = builder.with_webpki_verifier(verifier);
    let mut config = match (&settings.cert_file, &settings.key_file) {
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates("tls.cert_file", cert)?, private_key(key)?)
            .map_err(|error| bad("tls.key_file", error))?,
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = settings.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    Ok(config)
}

/// OpenSSL looks at the files first: it says the same here as for every other connection.
fn unusable(error: ClientError) -> NatsError {
    match error {
        ClientError::File(file) => {
            let key = match file.key {
                "cert_file" => "tls.cert_file",
                "key_file" => "tls.key_file",
                "crl_file" => "tls.crl_file",
                _ => "tls.ca_file",
            };
            bad_file(key, &file.path, file.problem)
        }
        other => bad("tls", other),
    }
}

fn revocations(file: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, NatsError> {
    let all = CertificateRevocationListDer::pem_file_iter(file).and_then(Iterator::collect);
    all.map_err(|error| bad_file("tls.crl_file", file, error))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, NatsError> {
    let mut roots = RootCertStore::empty();
    let Some(file) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() {
            Err(bad(
                "tls.ca_file",
                "the system trusts no authority; name a file with certificates of authorities",
            ))
        } else {
            Ok(roots)
        };
    };
    for certificate in certificates("tls.ca_file", file)? {
        roots.add(certificate).map_err(|error| bad_file("tls.ca_file", file, error))?;
    }
    Ok(roots)
}

fn certificates(key: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, NatsError> {
    let all = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match all.map_err(|error| bad_file(key, file, error))? {
        all if all.is_empty() => Err(bad_file(key, file, "holds no certificate in PEM form")),
        all => Ok(all),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, NatsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| bad_file("tls.key_file", file, error))
}

fn bad(key: &'static str, problem: impl std::fmt::Display) -> NatsError {
    NatsError::Key { key, problem: format!("{problem}") }
}

fn bad_file(key: &'static str, file: &Path, problem: impl std::fmt::Display) -> NatsError {
    bad(key, format!("{} {problem}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_serve_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("empty.pem");
        std::fs::write(&file, "nothing").unwrap();
        for (path, part) in [(file, "holds no certificate"), (folder.path().join("none.pem"), "none.pem")] {
            let settings = TlsSettings { ca_file: Some(path), ..TlsSettings::default() };
            let problem = client_config(&settings).unwrap_err().to_string();
            assert!(problem.starts_with("tls.ca_file: ") && problem.contains(part), "{problem}");
        }
    }
}
