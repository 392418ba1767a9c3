//! What somebody may do, by the names that configuration and answers use.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// One thing that an account or a token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read tags, from devices and as last known, and hear them on the live feed.
    TagsRead,
    /// Write tags.
    TagsWrite,
    /// See devices: state, settings, counters.
    DevicesRead,
    /// Add, change, remove and look for devices.
    DevicesConfigure,
    /// See events and alarms.
    EventsRead,
    /// Acknowledge alarms.
    AlarmsAcknowledge,
    /// See the supervisor tree.
    ActorsRead,
    /// Restart, stop and start actors.
    ActorsOrder,
    /// Read the configuration anew.
    ConfigReload,
    /// See what waits for brokers, and dead letters.
    SpoolRead,
    /// Replay and delete dead letters.
    SpoolManage,
    /// Collect metrics.
    MetricsRead,
    /// See how the gateway is secured: certificates, their expiry.
    SecurityRead,
    /// Read the audit trail.
    AuditRead,
    /// Manage accounts, tokens and everybody's sessions.
    AccountsManage,
}

impl Permission {
    /// All there are.
    pub const ALL: [Self; 15] = [
        Self::TagsRead,
        Self::TagsWrite,
        Self::DevicesRead,
        Self::DevicesConfigure,
        Self::EventsRead,
        Self::AlarmsAcknowledge,
        Self::ActorsRead,
        Self::ActorsOrder,
        Self::ConfigReload,
        Self::SpoolRead,
        Self::SpoolManage,
        Self::MetricsRead,
        Self::SecurityRead,
        Self::AuditRead,
        Self::AccountsManage,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::TagsRead => "tags:read",
            Self::TagsWrite => "tags:write",
            Self::DevicesRead => "devices:read",
            Self::DevicesConfigure => "devices:configure",
            Self::EventsRead => "events:read",
            Self::AlarmsAcknowledge => "alarms:acknowledge",
            Self::ActorsRead => "actors:read",
            Self::ActorsOrder => "actors:order",
            Self::ConfigReload => "config:reload",
            Self::SpoolRead => "spool:read",
            Self::SpoolManage => "spool:manage",
            Self::MetricsRead => "metrics:read",
            Self::SecurityRead => "security:read",
            Self::AuditRead => "audit:read",
            Self::AccountsManage => "accounts:manage",
        }
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no permission has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no permission {name:?}; there are {}", Permission::ALL.map(Permission::name).join(", "))]
pub struct UnknownPermission {
    name: String,
}

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(text: &str) -> Result<Self, UnknownPermission> {
        let found = Self::ALL.into_iter().find(|permission| permission.name() == text);
        found.ok_or_else(|| UnknownPermission { name: text.to_owned() })
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A set of permissions; written as a list of their names.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u32);

impl Permissions {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything.
    pub fn all() -> Self {
        Permission::ALL.into_iter().collect()
    }

    /// Whether it has this one.
    pub fn has(self, permission: Permission) -> bool {
        self.0 & permission.bit() != 0
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What this has and the other hasn't.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One after the other, in the order of [`Permission::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Permission> {
        Permission::ALL.into_iter().filter(move |permission| self.has(*permission))
    }
}

impl FromIterator<Permission> for Permissions {
    fn from_iter<I: IntoIterator<Item = Permission>>(permissions: I) -> Self {
        Self(permissions.into_iter().fold(0, |bits, permission| bits | permission.bit()))
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Permission::name)).finish()
    }
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().map(Permission::name).collect::<Vec<_>>().join(", "))
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Permission>::deserialize(deserializer).map(|list| list.into_iter().collect())
    }
}

/// Which role may do what. Those of the configuration are laid over the usual ones, role by role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(BTreeMap<Arc<str>, Permissions>);

/// Who reads.
pub const VIEWER: &str = "viewer";
/// Who runs the plant: reads, writes tags, acknowledges alarms.
pub const OPERATOR: &str = "operator";
/// Who configures.
pub const ENGINEER: &str = "engineer";
/// Who manages accounts, and may do everything.
pub const ADMIN: &str = "admin";

impl Default for Roles {
    fn default() -> Self {
        use Permission as P;
        let viewer =
            [P::TagsRead, P::DevicesRead, P::EventsRead, P::ActorsRead, P::SpoolRead, P::MetricsRead];
        let operator = [P::TagsWrite, P::AlarmsAcknowledge];
        let engineer =
            [P::DevicesConfigure, P::ActorsOrder, P::ConfigReload, P::SpoolManage, P::SecurityRead];
        let operator = || viewer.into_iter().chain(operator);
        let roles = [
            (VIEWER, viewer.into_iter().collect()),
            (OPERATOR, operator().collect()),
            (ENGINEER, operator().chain(engineer).collect()),
            (ADMIN, Permissions::all()),
        ];
        Self(roles.into_iter().map(|(name, permissions)| (name.into(), permissions)).collect())
    }
}

impl Roles {
    /// The usual ones, and over them those of the configuration.
    pub fn with(configured: &BTreeMap<String, Permissions>) -> Self {
        let mut roles = Self::default();
        let configured = configured.iter().map(|(name, permissions)| (name.as_str().into(), *permissions));
        roles.0.extend(configured);
        roles
    }

    /// What a role may do; `None`: there is no such role.
    pub fn get(&self, role: &str) -> Option<Permissions> {
        self.0.get(role).copied()
    }

    /// Their names, for messages.
    pub fn names(&self) -> String {
        self.0.keys().map(|name| &**name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_others_are_told_what_there_is() {
        for permission in Permission::ALL {
            assert_eq!(permission.name().parse(), Ok(permission));
        }
        let error = "tags:steal".parse::<Permission>().unwrap_err().to_string();
        assert!(error.contains("tags:steal") && error.contains("tags:write"), "{error}");
    }

    #[test]
    fn each_usual_role_may_do_what_the_one_before_may_and_more() {
        let roles = Roles::default();
        let of = |role| roles.get(role).unwrap();
        for (less, more) in [(VIEWER, OPERATOR), (OPERATOR, ENGINEER), (ENGINEER, ADMIN)] {
            assert!(of(less).beyond(of(more)).is_empty(), "{less} may do what {more} may not");
            assert!(!of(more).beyond(of(less)).is_empty(), "{more} may do no more than {less}");
        }
        assert!(!of(VIEWER).has(Permission::TagsWrite) && of(OPERATOR).has(Permission::TagsWrite));
        assert!(!of(ENGINEER).has(Permission::AccountsManage) && of(ADMIN).has(Permission::AccountsManage));
    }

    #[test]
    fn a_configured_role_takes_the_place_of_the_usual_one() {
        let configured = serde_json::from_str(r#"{"operator": ["tags:read"], "auditor": ["audit:read"]}"#);
        let roles = Roles::with(&configured.unwrap());
        assert_eq!(roles.get("operator").unwrap().to_string(), "tags:read");
        assert!(roles.get("auditor").unwrap().has(Permission::AuditRead));
        assert_eq!(roles.get(ADMIN), Some(Permissions::all()));
        assert_eq!(roles.get("nobody"), None);
    }
}
