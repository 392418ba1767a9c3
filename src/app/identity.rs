//! Who may come in: opened at start, given a first account, and read again when the command line changed it.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bifrost_security::accounts::{
    ADMIN, Account, Authority, PasswordError, StoreError, Update, one_time_password,
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::Config;

/// How soon a change by the command line takes effect.
const LOOK: Duration = Duration::from_millis(500);

/// Why nobody could come in.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// Accounts can't be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first password can't be read.
    #[error("security.bootstrap_password_file {file}: {source}; name a file that the gateway can read")]
    PasswordFile {
        /// Which file.
        file: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The first password isn't taken.
    #[error("the first password of admin: {0}")]
    Password(#[from] PasswordError),
}

/// The accounts, and the password that was made for `admin` because there was no account. Takes its time.
pub(super) fn open(config: &Config) -> Result<(Arc<Authority>, Option<Zeroizing<String>>), IdentityError> {
    let authority = Authority::open(&config.gateway.data_dir, &config.security.authority())?;
    if !authority.book().accounts().is_empty() {
        return Ok((Arc::new(authority), None));
    }
    let (password, made) = match &config.security.bootstrap_password_file {
        Some(file) => (read(file)?, false),
        None => (one_time_password()?, true),
    };
    let hash = authority.hash(ADMIN, &password)?;
    authority.change(|book, roles| {
        book.add(Account::new(ADMIN, ADMIN), roles)?;
        book.update(ADMIN, Update { password: Some((hash, made)), ..Update::default() }, roles)
    })?;
    Ok((Arc::new(authority), made.then_some(password)))
}

fn read(file: &Path) -> Result<Zeroizing<String>, IdentityError> {
    let failed = |source| IdentityError::PasswordFile { file: file.display().to_string(), source };
    let text = Zeroizing::new(fs::read_to_string(file).map_err(failed)?);
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Looks again and again whether the command line has changed accounts or tokens.
pub(super) async fn watch(authority: Arc<Authority>) {
    let mut told = false;
    loop {
        tokio::time::sleep(LOOK).await;
        match authority.look_again() {
            Ok(_) => told = false,
            Err(error) if !told => {
                told = true;
                tracing::error!(%error, "accounts stay as they were read last");
            }
            Err(_) => {}
        }
    }
}
