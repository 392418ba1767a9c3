//! What `bifrost pki` prints: lines for people, or one JSON value.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
};

use bifrost_security::pki::{Folder, Issued, Profile, Record};
use serde_json::{Value, json};

pub(super) fn created(folder: &Folder, dir: &Path, as_json: bool) {
    let root = folder.certificate_file(Profile::Root);
    let records: Vec<_> = folder.records().iter().map(value).collect();
    let data = json!({"dir": dir, "ca_file": root, "crl_file": folder.lists_file(), "certificates": records});
    let text = format!(
        "{dir} holds a root, gateway-ca and device-ca now\n\
         trusted by clients    {}\n\
         revocation lists      {}\n\
         next                  bifrost pki --dir {dir} issue server NAME --san ADDRESS\n",
        root.display(),
        folder.lists_file().display(),
        dir = dir.display(),
    );
    print(as_json, &data, &text);
}

pub(super) fn issued(issued: &Issued, ignored: &[String], as_json: bool) {
    let mut data = value(&issued.record);
    data["cert_file"] = json!(issued.certificate);
    data["key_file"] = json!(issued.key);
    data["ignored_extensions"] = json!(ignored);
    let record = &issued.record;
    let mut text = format!(
        "{} certificate {} for {}, valid until {}\ncertificate  {}\n",
        record.profile,
        record.serial,
        record.common_name,
        record.not_after,
        issued.certificate.display()
    );
    if let Some(key) = &issued.key {
        let _ = writeln!(text, "key          {}", key.display());
    }
    if !ignored.is_empty() {
        let _ =
            writeln!(text, "the request asks for extensions that weren't taken over: {}", ignored.join(", "));
    }
    print(as_json, &data, &text);
}

pub(super) fn revoked(record: &Record, lists: &Path, as_json: bool) {
    let mut data = value(record);
    data["crl_file"] = json!(lists);
    let text = format!(
        "{} certificate {} of {} is revoked\nrevocation lists  {}: hand this file to every listener\n",
        record.profile,
        record.serial,
        record.common_name,
        lists.display()
    );
    print(as_json, &data, &text);
}

pub(super) fn lists(renewed: &[Profile], lists: &Path, as_json: bool) {
    let names: Vec<_> = renewed.iter().map(|authority| authority.as_str()).collect();
    let data = json!({"renewed": names, "crl_file": lists});
    let mut text =
        format!("renewed the revocation lists of {}\nall lists  {}\n", names.join(", "), lists.display());
    if !renewed.contains(&Profile::Root) {
        text.push_str(
            "the root's list stays as it was: its key isn't here, or its passphrase wasn't given\n",
        );
    }
    print(as_json, &data, &text);
}

pub(super) fn records(records: &[Record], as_json: bool) {
    let data: Vec<_> = records.iter().map(value).collect();
    let mut text =
        format!("{:<32}  {:<10}  {:<10}  {:<20}  NAME\n", "SERIAL", "PROFILE", "STATUS", "NOT AFTER");
    for record in records {
        let (profile, status) = (record.profile.as_str(), record.status_now().as_str());
        let not_after = record.not_after.to_string();
        let _ = write!(
            text,
            "{:<32}  {profile:<10}  {status:<10}  {not_after:<20}  {}",
            record.serial, record.name
        );
        let other_name = (record.common_name != record.name).then(|| format!(" ({})", record.common_name));
        let role = record.role.as_ref().map(|role| format!(", role {role}"));
        let _ = writeln!(text, "{}{}", other_name.unwrap_or_default(), role.unwrap_or_default());
    }
    print(as_json, &json!({"certificates": data}), &text);
}

fn value(record: &Record) -> Value {
    let mut value = serde_json::to_value(record).unwrap_or_default();
    value["status"] = json!(record.status_now());
    value
}

/// Whoever reads may have closed its end: what was done stays done.
fn print(as_json: bool, data: &Value, text: &str) {
    let mut out = io::stdout().lock();
    let _ = if as_json { writeln!(out, "{data:#}") } else { out.write_all(text.as_bytes()) };
}
