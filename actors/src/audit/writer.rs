//! What is done on the disk, on a thread of its own: everything here blocks.

use std::{fs::OpenOptions, io::Write as _, path::PathBuf};

use bifrost_model::Timestamp;
use bifrost_security::audit::{
    AuditError, Category, Entry, Finding, Outcome, PUBLIC_KEY, SigningKey, Source, Trail, TrailError,
    TrailSettings,
};
use serde_json::json;

use super::settings::AuditSettings;

/// Where the trail is and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Names the trail and its key.
    pub(super) origin: String,
    pub(super) settings: AuditSettings,
}

/// The trail, opened when it is first needed and again after trouble.
#[derive(Debug)]
pub(super) struct Writer {
    place: Place,
    trail: Option<Trail>,
}

/// What came of writing.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// A checkpoint that was made.
    pub(super) note: Option<String>,
    /// What was found when the trail was opened.
    pub(super) findings: Vec<Finding>,
    /// The first and the last record that went.
    pub(super) removed: Option<(u64, u64)>,
    pub(super) size: u64,
    pub(super) unsigned: u64,
    pub(super) bytes: u64,
    /// What was handed over is recorded, but what is to be done beside that can't be.
    pub(super) trouble: Option<String>,
    /// The file elsewhere doesn't take checkpoints, and why.
    pub(super) elsewhere: Option<String>,
}

impl Writer {
    pub(super) fn new(place: Place) -> Self {
        Self { place, trail: None }
    }

    /// Records these, and makes a checkpoint if it is due or `sign` asks for one.
    pub(super) fn write(
        &mut self,
        entries: Vec<(Entry, Timestamp)>,
        sign: bool,
    ) -> Result<Written, AuditError> {
        self.try_write(entries, sign).map_err(|error| {
            // What the file is like is looked at anew.
            self.trail = None;
            AuditError(error.to_string())
        })
    }

    fn try_write(&mut self, entries: Vec<(Entry, Timestamp)>, sign: bool) -> Result<Written, TrailError> {
        let (now, mut written) = (Timestamp::now(), Written::default());
        written.findings = self.open(now)?;
        let found: Vec<_> = written.findings.iter().map(|finding| (entry(finding), now)).collect();
        let settings = self.place.settings.clone();
        let Some(trail) = &mut self.trail else { return Ok(written) };
        let all: Vec<_> = found.into_iter().chain(entries).collect();
        if !all.is_empty() {
            trail.append(all)?;
        }
        let sign = sign || trail.unsigned() >= settings.checkpoint_records;
        // Nothing of this may make anybody record the same once more.
        let kept = look_after(trail, sign, now, &mut written);
        (written.size, written.unsigned) = (trail.size(), trail.unsigned());
        if let Err(error) = kept {
            written.trouble = Some(error.to_string());
            self.trail = None;
        }
        if let (Some(note), Some(file)) = (&written.note, &settings.checkpoint_file) {
            let open = OpenOptions::new().append(true).create(true).open(file);
            let kept =
                open.and_then(|mut file| file.write_all(note.as_bytes()).and_then(|()| file.sync_all()));
            written.elsewhere = kept.err().map(|error| format!("{}: {error}", file.display()));
        }
        Ok(written)
    }

    fn open(&mut self, now: Timestamp) -> Result<Vec<Finding>, TrailError> {
        if self.trail.is_some() {
            return Ok(Vec::new());
        }
        let Place { folder, origin, settings } = &self.place;
        std::fs::create_dir_all(folder)
            .map_err(|source| TrailError::File { file: folder.display().to_string(), source })?;
        let key = SigningKey::load_or_generate(&folder.join("audit.key"), origin)?;
        // For those who check a copy without the private key.
        let public = folder.join(PUBLIC_KEY);
        std::fs::write(&public, format!("{}\n", key.verifier()))
            .map_err(|source| TrailError::File { file: public.display().to_string(), source })?;
        let max_age = settings.max_age.map(|age| i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let settings = TrailSettings {
            segment_bytes: settings.segment_bytes.0,
            max_bytes: settings.max_bytes.0,
            max_age,
        };
        let (trail, findings) = Trail::open(folder, key, settings, now)?;
        self.trail = Some(trail);
        Ok(findings)
    }
}

/// Checkpoints, room, and what is told of them.
fn look_after(
    trail: &mut Trail,
    sign: bool,
    now: Timestamp,
    written: &mut Written,
) -> Result<(), TrailError> {
    if sign {
        written.note = trail.checkpoint(now)?;
        written.removed = trail.retain(now)?;
    }
    written.bytes = trail.bytes()?;
    Ok(())
}

fn entry(finding: &Finding) -> Entry {
    let of = |kind, result| Entry::new(Source::gateway(), Category::AuditLog, kind, result);
    match finding {
        Finding::Torn(file) => of("trail_torn", Outcome::Failure).with(json!({ "set_aside": file })),
        Finding::SetAside { folder, reason } => {
            of("trail_set_aside", Outcome::Failure).with(json!({ "set_aside": folder, "reason": reason }))
        }
    }
}
