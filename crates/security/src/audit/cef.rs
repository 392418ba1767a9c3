//! Records in `ArcSight`'s Common Event Format, one line each, for those who collect logs.

use super::{
    entry::{Channel, Outcome},
    record::Record,
};

/// `CEF:0|vendor|product|version|id|name|severity|extensions`.
pub fn cef(record: &Record, gateway: &str) -> String {
    let entry = &record.entry;
    let severity = match entry.result {
        Outcome::Begun | Outcome::Success => 3,
        Outcome::Failure => 6,
        Outcome::Refused => 7,
    };
    let head = format!(
        "CEF:0|Bifrost|gateway|{}|{}|{}|{severity}|",
        header(env!("CARGO_PKG_VERSION")),
        header(&entry.kind),
        header(&entry.kind.replace('_', " "))
    );
    head + &extensions(record, gateway)
}

fn extensions(record: &Record, gateway: &str) -> String {
    let entry = &record.entry;
    let mut all = vec![
        ("rt", (record.timestamp.as_micros() / 1000).to_string()),
        ("externalId", record.seq.to_string()),
        ("dvchost", gateway.to_owned()),
        ("cat", name(&entry.category)),
        ("outcome", name(&entry.result)),
        ("app", channel(&entry.source.channel)),
    ];
    all.extend(entry.source.account.as_ref().map(|account| ("suser", account.to_string())));
    all.extend(entry.source.address.map(|address| ("src", address.to_string())));
    if !entry.object.is_empty() {
        all.push(("cs1", entry.object.clone()));
        all.push(("cs1Label", "object".to_owned()));
    }
    if !entry.detail.is_null() {
        all.push(("cs2", entry.detail.to_string()));
        all.push(("cs2Label", "detail".to_owned()));
    }
    if let Some(id) = &entry.request_id {
        all.push(("cs3", id.clone()));
        all.push(("cs3Label", "request".to_owned()));
    }
    let pairs: Vec<_> = all.iter().map(|(key, value)| format!("{key}={}", value_of(value))).collect();
    pairs.join(" ")
}

fn channel(channel: &Channel) -> String {
    match channel {
        Channel::Rest => "rest".to_owned(),
        Channel::Mqtt(session) => format!("mqtt:{session}"),
        Channel::Nats(session) => format!("nats:{session}"),
        Channel::Cli => "cli".to_owned(),
        Channel::Gateway => "gateway".to_owned(),
    }
}

/// As JSON names it.
fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

fn header(text: &str) -> String {
    text.replace('\\', "\\\\").replace('|', "\\|").replace(['\n', '\r'], " ")
}

fn value_of(text: &str) -> String {
    text.replace('\\', "\\\\").replace('=', "\\=").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use bifrost_model::Timestamp;

    use super::*;
    use crate::audit::{Category, Entry, Source};

    #[test]
    fn what_could_break_the_format_is_escaped() {
        let source = Source { account: Some("a=b".into()), ..Source::gateway() };
        let entry = Entry::new(source, Category::AccessControl, "log|in", Outcome::Refused).on("x\ny");
        let record = Record { seq: 3, timestamp: Timestamp::from_micros(1_000_000), entry };
        let line = cef(&record, "gw");
        assert!(line.starts_with("CEF:0|Bifrost|gateway|"), "{line}");
        assert!(
            line.contains("|log\\|in|log\\|in|7|rt=1000 externalId=3 dvchost=gw cat=access_control"),
            "{line}"
        );
        assert!(line.contains("suser=a\\=b cs1=x\\ny cs1Label=object") && !line.contains('\n'), "{line}");
    }
}
