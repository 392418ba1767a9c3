//! Who is believed: authorities, and what they have revoked.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use openssl::{
    error::ErrorStack,
    sha::Sha256,
    stack::Stack,
    x509::{
        X509, X509Crl, X509Name, X509NameRef, X509Ref, X509StoreContext,
        store::{X509Lookup, X509Store, X509StoreBuilder},
        verify::X509VerifyFlags,
    },
};

use super::{
    files::{Flaw, PemError, read_certificates},
    peer::{self, Peer},
};

/// Authorities, and revocation lists where there are any.
#[derive(Debug, Clone)]
pub struct Trust {
    file: PathBuf,
    authorities: Vec<X509>,
    lists: Option<Lists>,
}

#[derive(Debug, Clone)]
struct Lists {
    file: PathBuf,
    content: Vec<u8>,
    /// Whether every root has a list, so that all of a chain can be checked and not its end alone.
    covers_roots: bool,
    /// Issuers' names and serial numbers.
    revoked: Arc<HashSet<(Vec<u8>, String)>>,
}

impl Trust {
    /// Reads both, and checks that lists of these authorities are really theirs.
    pub fn load(authorities: &Path, lists: Option<&Path>) -> Result<Self, PemError> {
        let file = authorities.to_path_buf();
        let authorities = read_certificates(authorities)?;
        let lists = lists.map(|path| read_lists(path, &authorities)).transpose()?;
        Ok(Self { file, authorities, lists })
    }

    /// As a store that TLS checks peers against.
    pub fn store(&self) -> Result<X509Store, ErrorStack> {
        let mut builder = X509StoreBuilder::new()?;
        for authority in &self.authorities {
            builder.add_cert(authority.clone())?;
        }
        let mut flags = X509VerifyFlags::empty();
        if let Some(lists) = &self.lists {
            flags |= X509VerifyFlags::CRL_CHECK;
            if lists.covers_roots {
                flags |= X509VerifyFlags::CRL_CHECK_ALL;
            }
            let lookup = builder.add_lookup(X509Lookup::file())?;
            lookup.load_crl_file(&lists.file, openssl::ssl::SslFiletype::PEM)?;
        }
        builder.set_flags(flags)?;
        Ok(builder.build())
    }

    /// The authorities' names, for servers to tell clients.
    pub fn names(&self) -> Result<Stack<X509Name>, ErrorStack> {
        let mut names = Stack::new()?;
        for authority in &self.authorities {
            names.push(authority.subject_name().to_owned()?)?;
        }
        Ok(names)
    }

    /// Whether a list of the peer's issuer names the peer.
    pub(crate) fn has_revoked(&self, peer: &Peer) -> bool {
        let named = (peer.issuer.clone(), peer.serial.clone());
        self.lists.as_ref().is_some_and(|lists| lists.revoked.contains(&named))
    }

    /// Checks a chain, the certificate in question first.
    pub(crate) fn check(&self, chain: &[X509], path: &Path) -> Result<(), PemError> {
        let verdict = self.verdict(chain).map_err(|error| Flaw::from(error).of(path))?;
        let untrusted = |reason| Flaw::Untrusted { authorities: self.file.clone(), reason }.of(path);
        verdict.map_or(Ok(()), |reason| Err(untrusted(reason)))
    }

    /// Why a chain isn't believed; nothing: it is.
    fn verdict(&self, chain: &[X509]) -> Result<Option<String>, ErrorStack> {
        let mut others = Stack::new()?;
        for certificate in chain.iter().skip(1) {
            others.push(certificate.clone())?;
        }
        let store = self.store()?;
        let mut context = X509StoreContext::new()?;
        context.init(&store, &chain[0], &others, |context| {
            let believed = context.verify_cert()?;
            Ok((!believed).then(|| context.error().error_string().to_owned()))
        })
    }

    /// Changes with everything that decides on who is believed.
    pub(crate) fn digest(&self) -> Result<[u8; 32], ErrorStack> {
        let mut hasher = Sha256::new();
        for authority in &self.authorities {
            hasher.update(&authority.to_der()?);
        }
        if let Some(lists) = &self.lists {
            hasher.update(&lists.content);
        }
        Ok(hasher.finish())
    }
}

fn read_lists(path: &Path, authorities: &[X509]) -> Result<Lists, PemError> {
    let content = fs::read(path).map_err(|error| Flaw::Unreadable(error).of(path))?;
    let lists = parse_lists(&content);
    if lists.is_empty() {
        return Err(Flaw::NoList.of(path));
    }
    for list in &lists {
        if let Some(issuer) = authorities.iter().find(|it| same(it.subject_name(), list.issuer_name())) {
            let is_theirs = || list.verify(&*issuer.public_key()?);
            if !is_theirs().map_err(|error: ErrorStack| Flaw::from(error).of(path))? {
                return Err(Flaw::ForeignList { issuer: name(issuer) }.of(path));
            }
        }
    }
    let has_list = |root: &X509| lists.iter().any(|list| same(root.subject_name(), list.issuer_name()));
    let covers_roots = authorities.iter().all(has_list);
    let revoked = Arc::new(lists.iter().flat_map(revoked).collect());
    Ok(Lists { file: path.to_path_buf(), content, covers_roots, revoked })
}

/// The lists of a PEM file. OpenSSL reads the first of a text, so each is given to it alone.
fn parse_lists(content: &[u8]) -> Vec<X509Crl> {
    const END: &str = "-----END X509 CRL-----";
    let text = String::from_utf8_lossy(content);
    let blocks = text.split_inclusive(END).filter(|block| block.ends_with(END));
    blocks.filter_map(|block| X509Crl::from_pem(block.as_bytes()).ok()).collect()
}

/// What a list names, as a peer names itself.
fn revoked(list: &X509Crl) -> Vec<(Vec<u8>, String)> {
    let Ok(issuer) = list.issuer_name().to_der() else { return Vec::new() };
    let entries = list.get_revoked().into_iter().flatten();
    let serials = entries.filter_map(|entry| peer::serial(entry.serial_number()).ok());
    serials.map(|serial| (issuer.clone(), serial)).collect()
}

fn same(one: &X509NameRef, other: &X509NameRef) -> bool {
    one.try_cmp(other).is_ok_and(std::cmp::Ordering::is_eq)
}

fn name(certificate: &X509Ref) -> String {
    format!("{:?}", certificate.subject_name())
}
