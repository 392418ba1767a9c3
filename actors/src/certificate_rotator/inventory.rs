//! The certificates that the gateway uses, and how long each lasts.

use std::path::{Path, PathBuf};

use bifrost_model::{Severity, Timestamp};
use bifrost_security::tls::{CertificateFacts, certificate_facts};
use serde::Serialize;

const DAY: i64 = 86_400_000_000;

/// A file with certificates, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    /// `https`, `mqtt:NAME`, `nats:NAME` or `device:ID`, and `/authority` behind it for those who are trusted.
    pub(crate) name: String,
    /// Where.
    pub(crate) file: PathBuf,
}

impl Use {
    /// The certificate that is shown, and the authorities that are trusted, as far as they are named.
    pub(crate) fn of(name: &str, own: Option<&Path>, authorities: Option<&Path>) -> Vec<Self> {
        let with =
            |suffix: &str, file: &Path| Self { name: format!("{name}{suffix}"), file: file.to_owned() };
        let own = own.map(|file| with("", file));
        own.into_iter().chain(authorities.map(|file| with("/authority", file))).collect()
    }
}

/// How a certificate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// It lasts for more than 30 days.
    Ok,
    /// It lasts for less.
    Expiring,
    /// Its time is over.
    Expired,
    /// Its file can't be read.
    Unreadable,
}

/// One certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateRow {
    /// What it is for: `https`, `mqtt:NAME`, `nats:NAME`, `device:ID`; with `/authority` behind it: who is trusted.
    #[serde(rename = "use")]
    pub used_for: String,
    /// Where it is.
    pub file: PathBuf,
    /// How it is.
    pub state: CertificateState,
    /// What it says; absent: it can't be read.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub facts: Option<CertificateFacts>,
    /// Whole days that it lasts; negative: since when it is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days_left: Option<i64>,
    /// Why it can't be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl CertificateRow {
    /// Reads the file; of several certificates in it the one that ends first counts.
    pub(super) fn read(used: &Use, now: Timestamp) -> Self {
        let blank = Self {
            used_for: used.name.clone(),
            file: used.file.clone(),
            state: CertificateState::Unreadable,
            facts: None,
            days_left: None,
            problem: None,
        };
        let mut all = match certificate_facts(&used.file) {
            Ok(all) => all,
            Err(error) => return Self { problem: Some(error.to_string()), ..blank },
        };
        all.sort_by_key(|facts| facts.not_after);
        let Some(first) = all.into_iter().next() else { return blank };
        let left = (first.not_after.as_micros() - now.as_micros()).div_euclid(DAY);
        let state = match left {
            ..0 => CertificateState::Expired,
            0..30 => CertificateState::Expiring,
            _ => CertificateState::Ok,
        };
        Self { state, facts: Some(first), days_left: Some(left), ..blank }
    }

    /// How urgent it is: at 30, 7 and 1 days, and when the file can't be read.
    pub(super) fn severity(&self) -> Option<Severity> {
        match self.days_left {
            Some(..1) => Some(Severity::Critical),
            None | Some(1..7) => Some(Severity::Error),
            Some(7..30) => Some(Severity::Warning),
            Some(_) => None,
        }
    }

    /// As people read it.
    pub(super) fn describe(&self) -> String {
        let file = self.file.display();
        match (&self.facts, &self.problem) {
            (Some(facts), _) if self.state == CertificateState::Expired => {
                format!(
                    "the certificate of {} expired at {}: {file}; renew it",
                    self.used_for, facts.not_after
                )
            }
            (Some(facts), _) => {
                format!("the certificate of {} lasts until {}: {file}", self.used_for, facts.not_after)
            }
            (None, problem) => {
                let problem = problem.as_deref().unwrap_or("holds no certificate");
                format!("the certificate of {} can't be read: {problem}", self.used_for)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(days_left: Option<i64>) -> CertificateRow {
        CertificateRow {
            used_for: "https".to_owned(),
            file: "x".into(),
            state: CertificateState::Ok,
            facts: None,
            days_left,
            problem: None,
        }
    }

    #[test]
    fn it_gets_more_urgent_at_30_7_and_1_days() {
        let of = |days| row(Some(days)).severity();
        assert_eq!((of(31), of(30), of(29)), (None, None, Some(Severity::Warning)));
        assert_eq!(
            (of(7), of(6), of(1)),
            (Some(Severity::Warning), Some(Severity::Error), Some(Severity::Error))
        );
        assert_eq!((of(0), of(-3)), (Some(Severity::Critical), Some(Severity::Critical)));
        assert_eq!(row(None).severity(), Some(Severity::Error));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_row_that_says_so() {
        let used = Use { name: "https".to_owned(), file: "/nowhere/x.pem".into() };
        let read = CertificateRow::read(&used, Timestamp::now());
        assert_eq!(read.state, CertificateState::Unreadable);
        assert!(read.describe().contains("/nowhere/x.pem"), "{}", read.describe());
    }
}
