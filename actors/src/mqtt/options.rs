//! From settings to what Paho wants to know for one connection. Reads files: not for an actor's thread.

use std::time::Duration;

use bifrost_security::tls::{ClientError, Connector};

use mqtt::{ConnectOptions, ConnectOptionsBuilder, Message, MessageBuilder, Properties, PropertyCode};
use paho_mqtt as mqtt;

use super::{MqttSettings, address::Server, error::ConnectError, inbox::MAX_REQUEST};
use crate::broker::{Identity, Outgoing};

/// Paho keeps no more; the session's window is smaller.
const MAX_IN_FLIGHT: i32 = 65_535;
/// A larger keep alive can't be said.
const MAX_KEEP_ALIVE: u64 = 65_535;

/// What the broker publishes when the gateway is gone.
#[derive(Debug, Clone)]
pub(super) struct Will {
    pub(super) message: Outgoing,
    pub(super) qos: u8,
    pub(super) retain: bool,
}

/// What one attempt to connect needs, read from files where it stands in files. Holds the password: not to be
/// shown.
#[derive(Clone)]
pub(super) struct Login {
    client_id: String,
    username: Option<String>,
    password: Option<String>,
    keep_alive: Duration,
    connect_timeout: Duration,
    tls: Option<Secure>,
    will: Will,
}

impl Login {
    /// Reads the password and looks at the files.
    pub(super) fn read(
        settings: &MqttSettings,
        identity: &Identity,
        server: &Server,
        will: Will,
    ) -> Result<Self, ConnectError> {
        let password = settings.password().read();
        let password =
            password.map_err(|problem| ConnectError::Password { server: server.to_string(), problem })?;
        let tls = server.tls.then(|| Secure::read(settings, server)).transpose()?;
        let login = Self {
            client_id: client_id(&settings.client_id, identity),
            username: settings.username.clone(),
            password,
            keep_alive: settings.keep_alive,
            connect_timeout: settings.connect_timeout,
            tls,
            will,
        };
        login.check()
    }

    /// What can't be handed over to C.
    fn check(self) -> Result<Self, ConnectError> {
        let texts = [("client_id", Some(&self.client_id)), ("username", self.username.as_ref())];
        for (key, text) in texts {
            if text.is_some_and(|text| text.contains('\0')) {
                let problem = "holds the character 0, which MQTT doesn't allow".to_owned();
                return Err(ConnectError::Setting { key, problem });
            }
        }
        Ok(self)
    }

    /// Longest time that Paho itself may try; whoever waits gives up before.
    fn patience(&self) -> Duration {
        self.connect_timeout + Duration::from_secs(1)
    }

    /// What the client is made of.
    pub(super) fn client(&self, uri: &str) -> mqtt::CreateOptions {
        mqtt::CreateOptionsBuilder::new()
            .server_uri(uri)
            .client_id(&self.client_id)
            .persistence(None)
            .max_buffered_messages(MAX_IN_FLIGHT)
            .mqtt_version(mqtt::MQTT_VERSION_5)
            .finalize()
    }

    /// What its connection is made of.
    pub(super) fn connection(&self, v5: bool, will: &Will, proxy: Option<String>) -> ConnectOptions {
        let mut options =
            if v5 { ConnectOptionsBuilder::new_v5() } else { ConnectOptionsBuilder::with_mqtt_version(4) };
        if v5 {
            options.clean_start(true).properties(said_on_connect());
        } else {
            options.clean_session(true);
        }
        let seconds = self.keep_alive.as_millis().div_ceil(1000);
        let seconds = u64::try_from(seconds).unwrap_or(MAX_KEEP_ALIVE).min(MAX_KEEP_ALIVE);
        options
            .keep_alive_interval(Duration::from_secs(seconds))
            .connect_timeout(self.patience())
            .max_inflight(MAX_IN_FLIGHT)
            .will_message(plain(&will.message, will.qos, will.retain));
        if let Some(proxy) = proxy {
            options.http_proxy(proxy.as_str()).https_proxy(proxy);
        }
        if let Some(name) = &self.username {
            options.user_name(name);
        }
        if let Some(password) = &self.password {
            options.password(password.as_bytes());
        }
        options.finalize()
    }

    /// The will, as the settings have it.
    pub(super) fn will(&self) -> &Will {
        &self.will
    }

    /// How the connection is encrypted, if it is.
    pub(super) fn tls(&self) -> Option<&Secure> {
        self.tls.as_ref()
    }
}

/// What TLS with the broker is made from.
#[derive(Clone)]
pub(super) struct Secure {
    pub(super) connector: Connector,
    /// Who is trusted, in words.
    pub(super) trusted: String,
}

impl Secure {
    fn read(settings: &MqttSettings, server: &Server) -> Result<Self, ConnectError> {
        let connector = settings.tls.client().connector().map_err(|error| match error {
            ClientError::File(file) => ConnectError::File(file),
            other => ConnectError::Tls { server: server.to_string(), problem: other.to_string() },
        })?;
        let file = settings.tls.ca_file.as_ref();
        let trusted = file.map_or_else(
            || "the authorities of this system are trusted".to_owned(),
            |file| format!("trusted are the authorities in {}", file.display()),
        );
        Ok(Self { connector, trusted })
    }
}

/// A message with nothing but topic and payload.
pub(super) fn plain(message: &Outgoing, qos: u8, retain: bool) -> Message {
    MessageBuilder::new()
        .topic(&*message.topic)
        .payload(&*message.payload)
        .qos(i32::from(qos))
        .retained(retain)
        .finalize()
}

/// Requests that are larger aren't even sent by a broker of MQTT 5.
fn said_on_connect() -> Properties {
    let mut said = Properties::new();
    let most = u32::try_from(MAX_REQUEST + 1024).unwrap_or(u32::MAX);
    // Can't fail: the property is a number of four bytes.
    let _ = said.push_u32(PropertyCode::MaximumPacketSize, most);
    said
}

fn client_id(template: &str, identity: &Identity) -> String {
    template
        .replace("{hostname}", &identity.hostname)
        .replace("{gateway_id}", &identity.gateway_id)
        .replace("{site_id}", &identity.site_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_says_who_speaks() {
        let identity = Identity { gateway_id: "gw".into(), site_id: "s".into(), hostname: "host".into() };
        assert_eq!(client_id("bifrost-{hostname}-{gateway_id}-{site_id}", &identity), "bifrost-host-gw-s");
    }
}
