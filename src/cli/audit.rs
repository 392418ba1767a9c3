//! `bifrost audit`: checks the trail, shows it, and proves single records. Only reads, so that a gateway that runs
//! isn't disturbed.

use std::{
    fs,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use bifrost_model::Timestamp;
use bifrost_security::audit::{
    Category, PUBLIC_KEY, Proof, Query, Verification, VerifierKey, cef, each, kept_checkpoints, prove, verify,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::config::{Config, LoadOptions};

/// What `audit` is told.
#[derive(Debug, Clone, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    order: Order,
}

/// Where the trail is.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct Place {
    /// The configuration, which names the folder
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The gateway's data directory
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The trail's own folder, or a copy of it
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

#[derive(Debug, Clone, Subcommand)]
enum Order {
    /// Check the trail, or one proof; names the first record that is bad or missing
    Verify {
        #[command(flatten)]
        place: Place,
        /// The public key, as `audit key` prints it, or a file with it; else the one in the folder
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Checkpoints that were kept elsewhere: notes, or lines of `audit_checkpoint` events
        #[arg(long, value_name = "FILE", num_args = 1..)]
        checkpoints: Vec<PathBuf>,
        /// Check this proof alone; the trail isn't needed
        #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "checkpoints")]
        proof: Option<PathBuf>,
        /// Print what was found as JSON
        #[arg(long)]
        json: bool,
    },
    /// Print records, the oldest first
    Export {
        #[command(flatten)]
        place: Place,
        /// As they stand in the trail, or in the Common Event Format
        #[arg(long, value_enum, default_value = "jsonl")]
        format: Format,
        /// Only from then on (RFC 3339)
        #[arg(long, value_name = "TIME")]
        from: Option<Timestamp>,
        /// Only before then
        #[arg(long, value_name = "TIME")]
        to: Option<Timestamp>,
        /// Only of this category, such as `access_control`
        #[arg(long, value_parser = category)]
        category: Option<Category>,
        /// Only of this type, such as `login`
        #[arg(long = "type", value_name = "TYPE")]
        kind: Option<String>,
    },
    /// Print the public key; keep it elsewhere
    Key {
        #[command(flatten)]
        place: Place,
    },
    /// Print the proof that one record is in the trail
    Proof {
        /// Its number
        seq: u64,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Cef,
}

fn category(text: &str) -> Result<Category, String> {
    serde_json::from_value(json!(text)).map_err(|error| error.to_string())
}

/// Carries one order out.
pub fn run(args: &AuditArgs) -> ExitCode {
    let done = match &args.order {
        Order::Verify { key: Some(key), proof: Some(proof), json, .. } => check_proof(key, proof, *json),
        Order::Verify { place, key, checkpoints, json, .. } => {
            check_trail(place, key.as_deref(), checkpoints, *json)
        }
        Order::Export { place, format, from, to, category, kind } => {
            let (category, kind) = (*category, kind.clone());
            export(place, *format, &Query { from: *from, to: *to, category, kind, ..Query::default() })
        }
        Order::Key { place } => place.key().map(|key| {
            println!("{key}");
            true
        }),
        Order::Proof { seq, place } => proof(place, *seq),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => super::fail(error),
    }
}

impl Place {
    fn folder(&self) -> Result<PathBuf, String> {
        let folder = match (&self.config, &self.data_dir, &self.folder) {
            (Some(file), ..) => {
                let options = LoadOptions { syntax_only: true, ..LoadOptions::file(file) };
                let config = Config::load(&options).map_err(|problems| {
                    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                })?;
                let usual = config.gateway.data_dir.join("audit");
                config.security.audit.folder.unwrap_or(usual)
            }
            (_, Some(dir), _) => dir.join("audit"),
            (.., Some(folder)) => folder.clone(),
            _ => {
                return Err(
                    "say where the trail is: --config FILE, --data-dir DIR or --folder DIR".to_owned()
                );
            }
        };
        if folder.is_dir() { Ok(folder) } else { Err(format!("{} is no folder", folder.display())) }
    }

    /// The key that stands beside the trail.
    fn key(&self) -> Result<VerifierKey, String> {
        read_key(&self.folder()?.join(PUBLIC_KEY))
    }
}

fn read(file: &Path) -> Result<String, String> {
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn read_key(file: &Path) -> Result<VerifierKey, String> {
    VerifierKey::parse(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

/// A key as it is written, or the file that holds it.
fn key_of(text: &str) -> Result<VerifierKey, String> {
    VerifierKey::parse(text).or_else(|error| {
        let file = Path::new(text);
        if file.is_file() { read_key(file) } else { Err(error.to_string()) }
    })
}

fn check_trail(
    place: &Place,
    key: Option<&str>,
    checkpoints: &[PathBuf],
    json: bool,
) -> Result<bool, String> {
    let folder = place.folder()?;
    let key = if let Some(key) = key {
        key_of(key)?
    } else {
        eprintln!(
            "bifrost: the key is taken from the folder itself, and whoever changed the trail may have changed it too; \
             give the one that you keep elsewhere with --key"
        );
        place.key()?
    };
    for aside in set_aside(&folder) {
        eprintln!(
            "bifrost: {} holds a trail that wasn't what was signed; check it too (--folder), and move it away then",
            aside.display()
        );
    }
    let mut kept = Vec::new();
    for file in checkpoints {
        let found = kept_checkpoints(&read(file)?);
        if found.is_empty() {
            return Err(format!("{} holds no checkpoint", file.display()));
        }
        kept.extend(found);
    }
    let found = verify(&folder, &key, &kept).map_err(|error| error.to_string())?;
    tell(&found, json);
    Ok(found.fault.is_none())
}

/// What the gateway has put aside when it started.
fn set_aside(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_aside = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("set-aside-"))
    };
    entries.filter(is_aside).collect()
}

fn tell(found: &Verification, json: bool) {
    if json {
        println!("{:#}", json!(found));
        return;
    }
    if let Some(fault) = &found.fault {
        println!("BAD: {fault}");
    } else {
        let until = found.signed_at.map_or_else(String::new, |time| format!(", the last of {time}"));
        println!(
            "whole: records {} to {}, {} checkpoints{until}",
            found.first,
            found.size.saturating_sub(1),
            found.checkpoints
        );
    }
    if found.size > found.signed {
        println!("not signed yet: the last {}", found.size - found.signed);
    }
    if found.outside + found.outside_unchecked > 0 {
        let unchecked = found.outside_unchecked;
        println!(
            "checkpoints from elsewhere: {} fit, {unchecked} are of records that are gone",
            found.outside
        );
    }
}

fn check_proof(key: &str, file: &Path, json: bool) -> Result<bool, String> {
    let proof: Proof =
        serde_json::from_str(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))?;
    match proof.check(&key_of(key)?) {
        Ok((record, checkpoint)) if json => {
            println!("{:#}", json!({"record": record, "signed_at": checkpoint.time}));
        }
        Ok((record, checkpoint)) => {
            println!("proven: record {} was in the trail at {}", record.seq, checkpoint.time);
            println!("{}", json!(record));
        }
        Err(error) => {
            println!("BAD: {error}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn export(place: &Place, format: Format, query: &Query) -> Result<bool, String> {
    let folder = place.folder()?;
    let gateway = place.key()?.name().to_owned();
    let mut out = BufWriter::new(io::stdout().lock());
    let written = each(&folder, query, |line, record| match format {
        Format::Jsonl => writeln!(out, "{line}"),
        Format::Cef => writeln!(out, "{}", cef(record, &gateway)),
    });
    written.map_err(|error| error.to_string())?;
    out.flush().map_err(|error| format!("stdout: {error}"))?;
    Ok(true)
}

fn proof(place: &Place, seq: u64) -> Result<bool, String> {
    let proof = prove(&place.folder()?, &place.key()?, seq).map_err(|error| error.to_string())?;
    println!("{:#}", json!(proof));
    Ok(true)
}
