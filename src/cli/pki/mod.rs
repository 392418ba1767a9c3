//! `bifrost pki`: certificate authorities and what they issue.
//!
//! Works on a folder, never on a running gateway: that reads the files it is given.

mod args;
mod show;

use std::{path::Path, process::ExitCode};

use bifrost_security::pki::{
    Folder, Issued, KeySource, Order, Passphrase, PkiError, Profile, Request, Setup, Subject,
};

pub use args::PkiArgs;

use args::{Command, InitArgs, IssueArgs, KeyArgs, RevokeArgs};

/// Holds a passphrase, for those who can't use a file.
const PASSPHRASE: &str = "BIFROST_PKI_PASSPHRASE";

/// Carries one command out.
pub fn run(args: &PkiArgs) -> ExitCode {
    match carry_out(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

fn carry_out(args: &PkiArgs) -> Result<(), PkiError> {
    let (dir, json) = (args.dir.as_path(), args.json);
    match &args.command {
        Command::Init(init_args) => init(dir, init_args, json),
        Command::Issue(issue_args) => issue(dir, issue_args, json),
        Command::Renew(renew) => {
            let issued = Folder::open(dir)?.renew(&renew.certificate, renew.days, &source(&renew.key)?)?;
            show::issued(&issued, &[], json);
            Ok(())
        }
        Command::Revoke(revoke_args) => revoke(dir, revoke_args, json),
        Command::Crl(key) => {
            let mut folder = Folder::open(dir)?;
            let renewed = folder.renew_lists(&source(key)?)?;
            show::lists(&renewed, &folder.lists_file(), json);
            Ok(())
        }
        Command::List => {
            show::records(Folder::open(dir)?.records(), json);
            Ok(())
        }
    }
}

fn init(dir: &Path, args: &InitArgs, json: bool) -> Result<(), PkiError> {
    let passphrase = passphrase(args.passphrase_file.as_deref())?;
    if passphrase.is_none() && !args.no_passphrase {
        let what = format!(
            "the root's key wants a passphrase: give it with --passphrase-file FILE or {PASSPHRASE}, or say \
             --no-passphrase"
        );
        return Err(PkiError::Misuse(what));
    }
    let passphrase = if args.no_passphrase { None } else { passphrase };
    let setup = Setup { name: args.name.clone(), algorithm: args.algorithm, passphrase };
    let folder = Folder::create(dir, &setup)?;
    show::created(&folder, dir, json);
    Ok(())
}

fn issue(dir: &Path, args: &IssueArgs, json: bool) -> Result<(), PkiError> {
    let request = args.csr.as_deref().map(Request::read).transpose()?;
    let ignored = request.as_ref().map(|request| request.ignored.clone()).unwrap_or_default();
    let order = Order {
        profile: args.profile,
        subject: subject(args, request.as_ref()),
        days: args.days,
        algorithm: args.algorithm,
        name: args.name.clone(),
    };
    let (mut folder, source) = (Folder::open(dir)?, source(&args.key)?);
    let issued: Issued = match &request {
        Some(request) => folder.issue_requested(&order, request, &source)?,
        None => folder.issue(&order, &source)?,
    };
    show::issued(&issued, &ignored, json);
    Ok(())
}

/// What the request says, with what the command says in its place.
fn subject(args: &IssueArgs, request: Option<&Request>) -> Subject {
    let mut subject = request.map(|request| request.subject.clone()).unwrap_or_default();
    if let Some(common_name) = &args.common_name {
        subject.common_name.clone_from(common_name);
    }
    if !args.san.is_empty() {
        subject.names.clone_from(&args.san);
    }
    if args.role.is_some() {
        subject.role.clone_from(&args.role);
    }
    subject
}

fn revoke(dir: &Path, args: &RevokeArgs, json: bool) -> Result<(), PkiError> {
    let mut folder = Folder::open(dir)?;
    let record = folder.revoke(&args.certificate, args.reason, &source(&args.key)?)?;
    show::revoked(&record, &folder.lists_file(), json);
    Ok(())
}

fn source(args: &KeyArgs) -> Result<KeySource, PkiError> {
    Ok(KeySource { file: args.ca_key.clone(), passphrase: passphrase(args.passphrase_file.as_deref())? })
}

fn passphrase(file: Option<&Path>) -> Result<Option<Passphrase>, PkiError> {
    match file {
        Some(file) => Passphrase::read(file).map(Some),
        None => std::env::var(PASSPHRASE).ok().map(Passphrase::new).transpose(),
    }
}

/// A profile that can be issued; authorities come with `init`.
fn leaf(text: &str) -> Result<Profile, String> {
    let profile: Profile = text.parse()?;
    if profile.is_authority() {
        return Err(format!("{profile} comes with `pki init`, and `pki renew {profile}` renews it"));
    }
    Ok(profile)
}
