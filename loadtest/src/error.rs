//! Why nothing could be measured. A missed target is a figure, not an error.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a measurement came to nothing.
#[derive(Debug, Error)]
pub(crate) enum LoadError {
    /// A program that is to be measured isn't built.
    #[error("{} isn't there; {how}", .program.display())]
    Missing {
        /// Which.
        program: PathBuf,
        /// How to get it.
        how: &'static str,
    },
    /// A program ended, or didn't get ready.
    #[error("{program} {what}: {said}")]
    Program {
        /// Which.
        program: String,
        /// What happened.
        what: String,
        /// The end of what it said.
        said: String,
    },
    /// The gateway answered something else than it should.
    #[error("{asked} was answered with {status}: {body}")]
    Answer {
        /// Method and path.
        asked: String,
        /// HTTP status.
        status: u16,
        /// The beginning of the body.
        body: String,
    },
    /// Too few free ports in a row.
    #[error("no {0} free ports in a row below the range of outgoing connections")]
    Ports(u16),
    /// What a program or the kernel said can't be understood.
    #[error("{0} can't be understood")]
    Unreadable(String),
    /// The operating system refused.
    #[error("{place}: {source}")]
    Io {
        /// File, address or program.
        place: String,
        /// Why.
        source: io::Error,
    },
}

impl LoadError {
    /// Names the place of an operating system's error.
    pub(crate) fn at(place: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let place = place.into();
        move |source| Self::Io { place, source }
    }
}
