//! What which role may do: the table by which a PLC of Modbus/TCP Security grants or refuses requests.
//!
//! ```yaml
//! - role: operator                  # everything
//! - role: viewer
//!   access: read
//!   functions: [3, 4]
//!   ranges: [{table: holding, range: 0-99}]
//! ```
//!
//! Without a table every client whose certificate is good may do everything, with whatever role.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    SimulatorError,
    pdu::{Request, Span},
    role::Role,
    settings::{AddressRange, Table},
};

/// What one role may do; more rows for one role add up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// Which role, as it stands in certificates.
    pub role: String,
    /// Whether it may write.
    #[serde(default)]
    pub access: Access,
    /// Which function codes it may use; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub functions: Option<Vec<u8>>,
    /// Which addresses it may touch; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<Reachable>>,
}

/// Whether a role may write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// It may only read.
    Read,
    /// It may read and write.
    #[default]
    ReadWrite,
}

/// Addresses that a role may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reachable {
    /// In which table.
    pub table: Table,
    /// Which addresses.
    pub range: AddressRange,
}

/// Reads a table from a file, YAML or JSON.
///
/// # Errors
/// With the file's name, and the line and key where there is one.
pub fn load_rights(path: &Path) -> Result<Vec<Right>, SimulatorError> {
    let text =
        fs::read_to_string(path).map_err(|source| SimulatorError::Read { path: path.to_owned(), source })?;
    // JSON is YAML.
    serde_saphyr::from_str(&text).map_err(|error| SimulatorError::Syntax {
        place: path.display().to_string(),
        reason: error.without_snippet().to_string(),
    })
}

/// What the client of one connection may do.
#[derive(Debug, Clone, Default)]
pub(crate) enum Grants {
    /// Everything.
    #[default]
    All,
    /// What these rows say; nothing, where there are none.
    Rows(Vec<Right>),
}

impl Grants {
    /// A role's, by a table. What isn't one well-formed role may do nothing.
    pub(crate) fn of(role: &Role, table: Option<&[Right]>) -> Self {
        let Some(table) = table else { return Self::All };
        Self::Rows(match role {
            Role::Named(name) => table.iter().filter(|right| right.role == *name).cloned().collect(),
            Role::None | Role::Malformed(_) => Vec::new(),
        })
    }

    /// Whether a request may be carried out; one that makes no sense may, since it is refused anyway.
    pub(crate) fn allow(&self, pdu: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Rows(rows) => rows.iter().any(|right| right.allows(pdu)),
        }
    }
}

impl Right {
    fn allows(&self, pdu: &[u8]) -> bool {
        let Some(function) = pdu.first() else { return false };
        if self.functions.as_ref().is_some_and(|functions| !functions.contains(function)) {
            return false;
        }
        let Ok(request) = Request::parse(pdu) else { return true };
        if self.access == Access::Read && request.writes() {
            return false;
        }
        request.touches().into_iter().flatten().all(|(table, span)| self.reaches(table, span))
    }

    fn reaches(&self, table: Table, span: Span) -> bool {
        let Some(ranges) = &self.ranges else { return true };
        ranges.iter().any(|reachable| {
            let range = reachable.range;
            reachable.table == table && range.first <= span.first && span.end() <= usize::from(range.last) + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &[u8] = &[3, 0, 5, 0, 2];
    const WRITE: &[u8] = &[6, 0, 5, 0, 7];

    fn grants(role: &Role) -> Grants {
        let table: Vec<Right> = serde_saphyr::from_str(
            "- {role: viewer, access: read, functions: [3, 6], ranges: [{table: holding, range: 0-6}]}\n\
             - {role: operator}\n",
        )
        .unwrap();
        Grants::of(role, Some(&table))
    }

    fn named(role: &str) -> Role {
        Role::Named(role.to_owned())
    }

    #[test]
    fn a_role_may_do_what_its_rows_say_and_no_more() {
        let viewer = grants(&named("viewer"));
        assert!(viewer.allow(READ));
        for refused in [WRITE, &[3, 0, 5, 0, 3], &[4, 0, 5, 0, 1], &[1, 0, 0, 0, 1], &[22, 0, 0, 0, 0, 0, 0]]
        {
            assert!(!viewer.allow(refused), "{refused:?}");
        }
        assert!(grants(&named("operator")).allow(WRITE));
    }

    #[test]
    fn whoever_has_no_role_may_do_nothing_where_there_is_a_table() {
        for role in [Role::None, Role::Malformed("more than one role"), named("stranger")] {
            assert!(!grants(&role).allow(READ), "{role:?}");
            assert!(Grants::of(&role, None).allow(WRITE), "{role:?}");
        }
    }
}
