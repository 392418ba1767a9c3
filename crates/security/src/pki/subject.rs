//! Whom a certificate names, and which names can be.

use super::{error::PkiError, profile::Profile};
use crate::tls::AltName;

/// Longest common name (RFC 5280, ub-common-name), and longest role.
const LONGEST: usize = 64;

/// Whom a certificate names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name.
    pub common_name: String,
    /// Names and addresses under which it is reached.
    pub names: Vec<AltName>,
    /// The role at a Modbus/TCP Security server; devices alone have one.
    pub role: Option<String>,
}

impl Subject {
    /// With nothing but its common name, which is also the name of a server or device that can be one.
    pub fn named(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), ..Self::default() }
    }

    /// Checks it against what it is for, and gives a server the name that it is known by.
    pub(super) fn complete(mut self, profile: Profile) -> Result<Self, PkiError> {
        check_text("the common name", &self.common_name)?;
        if let Some(role) = &self.role {
            if profile != Profile::Device {
                return Err(PkiError::RoleWithout(profile));
            }
            check_text("the role", role)?;
        }
        if matches!(profile, Profile::Server | Profile::Device) && self.names.is_empty() {
            self.names.extend(self.common_name.parse::<AltName>().ok());
        }
        if profile == Profile::Server && self.names.is_empty() {
            return Err(PkiError::NoNames(self.common_name));
        }
        if profile.is_authority() && !self.names.is_empty() {
            return Err(PkiError::Subject(format!("{profile} is reached by nobody: it has no names")));
        }
        Ok(self)
    }
}

fn check_text(what: &str, text: &str) -> Result<(), PkiError> {
    let problem = if text.trim().is_empty() {
        "is empty"
    } else if text.chars().count() > LONGEST {
        "is longer than 64 characters"
    } else if text.chars().any(char::is_control) {
        "holds a control character"
    } else {
        return Ok(());
    };
    Err(PkiError::Subject(format!("{what} {problem}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_reached_by_its_common_name_unless_it_has_others() {
        let complete = |subject: Subject| subject.complete(Profile::Server);
        assert_eq!(complete(Subject::named("gw-1")).unwrap().names, ["gw-1".parse().unwrap()]);
        assert!(matches!(complete(Subject::named("Gateway no. 1")), Err(PkiError::NoNames(_))));
        assert!(matches!(complete(Subject::named("a\nb")), Err(PkiError::Subject(_))));
        let with_role = Subject { role: Some("Operator".to_owned()), ..Subject::named("a") };
        assert!(matches!(complete(with_role), Err(PkiError::RoleWithout(Profile::Server))));
    }
}
