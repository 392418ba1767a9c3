//! What can be wrong with a simulated plant before it runs.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a simulation can't be built or started.
#[derive(Debug, Error)]
pub enum SimulatorError {
    /// A value that makes no sense; `key` says where, as `devices[3].faults[0].every`.
    #[error("{key}: {reason}")]
    Setting {
        /// The path of the key.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A scenario file that can't be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A scenario text that is no scenario; the reason names key, line and column.
    #[error("{place}: {reason}")]
    Syntax {
        /// The file, or what the text was called.
        place: String,
        /// What the parser said.
        reason: String,
    },
    /// A certificate, a key or an authority that a server of TLS can't use.
    #[error("{key}: {}: {reason}", path.display())]
    Tls {
        /// Which setting names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What OpenSSL or the operating system said.
        reason: String,
    },
    /// An address or a serial port that can't be had.
    #[error("{name}: can't listen on {endpoint}: {source}")]
    Listen {
        /// The device.
        name: String,
        /// The address or path.
        endpoint: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl SimulatorError {
    pub(crate) fn setting(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), reason: reason.into() }
    }

    /// The same, with the key placed below `parent`.
    pub(crate) fn below(self, parent: &str) -> Self {
        match self {
            Self::Setting { key, reason } => Self::Setting { key: format!("{parent}.{key}"), reason },
            other => other,
        }
    }
}

impl From<SimulatorError> for io::Error {
    fn from(error: SimulatorError) -> Self {
        match error {
            SimulatorError::Read { source, .. } | SimulatorError::Listen { source, .. } => source,
            other => Self::new(io::ErrorKind::InvalidInput, other),
        }
    }
}
