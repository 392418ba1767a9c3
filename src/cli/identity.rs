//! `bifrost user` and `bifrost token`: accounts and tokens, with the gateway running or not.
//!
//! Changes the file that a running gateway reads again within a second. Passwords come from a file or from
//! stdin, never from an argument that everybody on the machine can read.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bifrost_model::Timestamp;
use bifrost_security::accounts::{
    Account, Book, ChangeError, Hash, NewToken, Roles, Scope, Secret, Store, StoreError, Update, Use,
};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::config::{Config, LoadOptions, SecuritySettings};

/// Where accounts are.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Place {
    /// The configuration, which names the data directory
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory itself
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What `user` is told.
#[derive(Debug, Clone, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    order: UserOrder,
}

#[derive(Debug, Clone, Subcommand)]
enum UserOrder {
    /// Add an account; its password is read from stdin
    Add {
        name: String,
        /// What it may do
        #[arg(long)]
        role: String,
        /// Never lock it
        #[arg(long)]
        essential: bool,
        /// Read the password from this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// Give an account a new password, read from stdin; ends its sessions
    Passwd {
        name: String,
        /// Read the password from this file
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// List accounts as JSON
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Remove an account, and the tokens that it issued
    Remove {
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// What `token` is told.
#[derive(Debug, Clone, Args)]
pub struct TokenArgs {
    #[command(subcommand)]
    order: TokenOrder,
}

#[derive(Debug, Clone, Subcommand)]
enum TokenOrder {
    /// Issue a token and print it, once
    Issue {
        /// Print its id and expiry too, as JSON
        #[arg(long)]
        json: bool,
        /// What it is for
        name: String,
        /// What it may do
        #[arg(long)]
        role: String,
        /// How long it holds, such as 90d
        #[arg(long, default_value = "90d", value_parser = humantime_serde::re::humantime::parse_duration)]
        expires: Duration,
        #[command(flatten)]
        place: Place,
    },
    /// End a token
    Revoke {
        /// As listed
        id: String,
        #[command(flatten)]
        place: Place,
    },
    /// List tokens as JSON
    List {
        #[command(flatten)]
        place: Place,
    },
}

/// The data directory's accounts, and what the configuration says of identity.
struct Opened {
    store: Store,
    roles: Roles,
    security: SecuritySettings,
}

impl Place {
    fn open(&self) -> Result<Opened, String> {
        let (data_dir, security) = match (&self.config, &self.data_dir) {
            (Some(file), _) => {
                let options = LoadOptions { syntax_only: true, ..LoadOptions::file(file) };
                let config = Config::load(&options).map_err(|problems| {
                    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                })?;
                (config.gateway.data_dir, config.security)
            }
            (None, dir) => (dir.clone().unwrap_or_default(), SecuritySettings::default()),
        };
        if !data_dir.is_dir() {
            return Err(format!("{} is no folder; make it first, or name another", data_dir.display()));
        }
        Ok(Opened { store: Store::within(&data_dir), roles: Roles::with(&security.roles), security })
    }
}

impl Opened {
    fn change<T>(&self, change: impl FnOnce(&mut Book) -> Result<T, ChangeError>) -> Result<T, String> {
        self.store.change(change).map(|(answer, _)| answer).map_err(|error| error.to_string())
    }

    fn read(&self) -> Result<Book, String> {
        self.store.read().map_err(|error: StoreError| error.to_string())
    }

    fn hash(&self, name: &str, file: Option<&Path>) -> Result<Hash, String> {
        let password = read_password(file)?;
        Hash::of(name, &password, &self.security.passwords).map_err(|error| error.to_string())
    }
}

fn read_password(file: Option<&Path>) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    if let Some(file) = file {
        let read = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()));
        text = Zeroizing::new(read?);
    } else {
        let read = std::io::stdin().lock().take(4096).read_to_string(&mut text);
        read.map_err(|error| format!("stdin: {error}"))?;
    }
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

/// Carries an order about accounts out.
pub fn user(args: &UserArgs) -> ExitCode {
    tell(match &args.order {
        UserOrder::Add { name, role, essential, password_file, place } => place.open().and_then(|opened| {
            let password = Some(opened.hash(name, password_file.as_deref())?);
            let account = Account { password, essential: *essential, ..Account::new(name, role) };
            opened.change(|book| book.add(account, &opened.roles)).map(|()| String::new())
        }),
        UserOrder::Passwd { name, password_file, place } => place.open().and_then(|opened| {
            let hash = opened.hash(name, password_file.as_deref())?;
            let update = Update { password: Some((hash, false)), ..Update::default() };
            opened.change(|book| book.update(name, update, &opened.roles)).map(|()| String::new())
        }),
        UserOrder::List { place } => place.open().and_then(|opened| {
            let listed = opened.read()?.accounts().iter().map(row_of_account).collect::<Vec<_>>();
            Ok(format!("{:#}", serde_json::Value::from(listed)))
        }),
        UserOrder::Remove { name, place } => place.open().and_then(|opened| {
            opened.change(|book| book.remove(name, &opened.roles)).map(|()| String::new())
        }),
    })
}

fn row_of_account(account: &Account) -> serde_json::Value {
    serde_json::json!({
        "name": account.name, "role": account.role, "essential": account.essential,
        "disabled": account.disabled, "has_password": account.password.is_some(),
        "must_change_password": account.must_change, "certificates": account.certificates,
        "created": account.created,
    })
}

/// Carries an order about tokens out.
pub fn token(args: &TokenArgs) -> ExitCode {
    tell(match &args.order {
        TokenOrder::Issue { json, name, role, expires, place } => place.open().and_then(|opened| {
            let secret = Secret::generate(Use::Token).map_err(|error| error.to_string())?;
            let lasts = i64::try_from(expires.as_micros()).unwrap_or(i64::MAX);
            let expires = Timestamp::from_micros(Timestamp::now().as_micros().saturating_add(lasts));
            let scope = Scope::Role(role.as_str().into());
            let new = NewToken { name: name.clone(), scope, owner: None, expires: Some(expires) };
            let token = opened.change(|book| book.issue(new, &secret, &opened.roles))?;
            let row = serde_json::json!({
                "id": token.id, "token": secret.reveal(), "role": role, "expires": expires,
            });
            Ok(if *json { format!("{row:#}") } else { secret.reveal().to_owned() })
        }),
        TokenOrder::Revoke { id, place } => {
            place.open().and_then(|opened| opened.change(|book| book.revoke(id)).map(|()| String::new()))
        }
        TokenOrder::List { place } => place.open().and_then(|opened| {
            let row = |token: &bifrost_security::accounts::Token| {
                serde_json::json!({
                    "id": token.id, "name": token.name, "scope": token.scope, "owner": token.owner,
                    "created": token.created, "expires": token.expires, "revoked": token.revoked,
                })
            };
            let listed = opened.read()?.tokens().iter().map(row).collect::<Vec<_>>();
            Ok(format!("{:#}", serde_json::Value::from(listed)))
        }),
    })
}

fn tell(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(text) => {
            if !text.is_empty() {
                println!("{text}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => super::fail(error),
    }
}
