//! Who asks, once that is known.

use std::{net::IpAddr, sync::Arc};

use super::permission::{Permission, Permissions};
use crate::audit::{Channel, Source};

/// By what somebody is known; asked again, it tells whether that still holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// A session of somebody who logged in, by its id.
    Session(Arc<str>),
    /// An API token, by its id.
    Token(Arc<str>),
    /// A certificate that stands for this account.
    Certificate(Arc<str>),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The account, or `token:…` with the token's id.
    pub name: Arc<str>,
    /// The role, unless a token names its permissions itself.
    pub role: Option<Arc<str>>,
    /// What they may do.
    pub permissions: Permissions,
    /// By what they are known.
    pub proof: Proof,
    /// Whether a new password is due before anything else.
    pub must_change: bool,
    /// From where they ask.
    pub address: Option<IpAddr>,
}

impl Principal {
    /// Whether they may.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.has(permission)
    }

    /// The account, unless it is a token.
    pub fn account(&self) -> Option<&Arc<str>> {
        (!matches!(self.proof, Proof::Token(_))).then_some(&self.name)
    }

    /// As the audit trail names them.
    pub fn source(&self) -> Source {
        Source { account: Some(Arc::clone(&self.name)), address: self.address, channel: Channel::Rest }
    }
}
