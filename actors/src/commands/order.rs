//! A command as its sender gives it, and who that is.

use std::{fmt, net::IpAddr, sync::Arc};

use bifrost_model::{Command, Timestamp, Value};
use bifrost_security::audit::{Channel, Source};
use serde::{Deserialize, Serialize};

/// An order to write one tag, as its sender gives it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The same id is carried out once, over restarts too; absent: one is made up, which nobody can repeat.
    #[serde(default)]
    pub command_id: Option<String>,
    /// Which tag of the device.
    pub tag_id: String,
    /// In engineering units.
    pub value: Value,
    /// Not to be carried out after this.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
    /// Whether to read the tag afterwards.
    #[serde(default)]
    pub read_back: bool,
}

impl Order {
    /// The command, and whether its sender gave its id.
    pub(super) fn into_command(self) -> (Command, bool) {
        let given = self.command_id.is_some();
        // 128 random bits: nobody makes up the same.
        let command_id = self.command_id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
        let command = Command {
            command_id: command_id.into(),
            tag_id: self.tag_id.into(),
            value: self.value,
            expires_at: self.expires_at,
            read_back: self.read_back,
        };
        (command, given)
    }
}

/// How a broker's session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// MQTT.
    Mqtt,
    /// NATS.
    Nats,
}

/// Who asks by REST.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requester {
    /// The account or token.
    pub account: Option<Arc<str>>,
    /// From where.
    pub address: Option<IpAddr>,
    /// In which request.
    pub request_id: Option<Arc<str>>,
}

/// By which way a command came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// REST, by whom.
    Rest(Requester),
    /// A broker's session, by name.
    Session(Protocol, Arc<str>),
}

impl Origin {
    /// As the audit trail names it.
    pub(crate) fn source(&self) -> Source {
        let of = |account: Option<&Arc<str>>, address, channel| Source {
            account: account.cloned(),
            address,
            channel,
        };
        match self {
            Self::Rest(by) => of(by.account.as_ref(), by.address, Channel::Rest),
            Self::Session(Protocol::Mqtt, session) => of(None, None, Channel::Mqtt(Arc::clone(session))),
            Self::Session(Protocol::Nats, session) => of(None, None, Channel::Nats(Arc::clone(session))),
        }
    }

    /// The request in which it came.
    pub(crate) fn request_id(&self) -> Option<String> {
        match self {
            Self::Rest(by) => by.request_id.as_deref().map(str::to_owned),
            Self::Session(..) => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rest(_) => f.write_str("rest"),
            Self::Session(Protocol::Mqtt, session) => write!(f, "mqtt:{session}"),
            Self::Session(Protocol::Nats, session) => write!(f, "nats:{session}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_up_only_where_none_was_given() {
        let order: Order = serde_json::from_str(r#"{"tag_id":"speed","value":7}"#).unwrap();
        let ((first, given), (second, _)) = (order.clone().into_command(), order.clone().into_command());
        assert!(!given && first.command_id != second.command_id && first.command_id.len() == 32);
        let (command, given) = Order { command_id: Some("c".to_owned()), ..order }.into_command();
        assert!(given && &*command.command_id == "c");
    }

    #[test]
    fn origins_name_the_session() {
        let session = |protocol| Origin::Session(protocol, "plant".into()).to_string();
        assert_eq!(session(Protocol::Mqtt), "mqtt:plant");
        assert_eq!(
            (session(Protocol::Nats), Origin::Rest(Requester::default()).to_string()),
            ("nats:plant".into(), "rest".into())
        );
    }
}
