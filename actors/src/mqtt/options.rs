//! From settings to what Paho wants to know for one connection. Reads files: not for an actor's thread.

use std::{path::Path, time::Duration};

use mqtt::{
    ConnectOptions, ConnectOptionsBuilder, Message, MessageBuilder, Properties, PropertyCode, SslOptions,
};
use paho_mqtt as mqtt;

use super::{MqttSettings, address::Server, error::ConnectError, inbox::MAX_REQUEST};
use crate::broker::{Identity, Outgoing, TlsSettings};

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
    tls: Option<TlsSettings>,
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
        if server.tls {
            look_at_files(&settings.tls)?;
        }
        let login = Self {
            client_id: client_id(&settings.client_id, identity),
            username: settings.username.clone(),
            password,
            keep_alive: settings.keep_alive,
            connect_timeout: settings.connect_timeout,
            tls: server.tls.then(|| settings.tls.clone()),
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
    pub(super) fn connection(
        &self,
        v5: bool,
        will: &Will,
        proxy: Option<String>,
    ) -> Result<ConnectOptions, ConnectError> {
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
        if let Some(tls) = &self.tls {
            options.ssl_options(ssl(tls)?);
        }
        Ok(options.finalize())
    }

    /// The will, as the settings have it.
    pub(super) fn will(&self) -> &Will {
        &self.will
    }

    /// Who is trusted, in words.
    pub(super) fn trusted(&self) -> String {
        let file = self.tls.as_ref().and_then(|tls| tls.ca_file.as_ref());
        file.map_or_else(
            || "an authority of this system".to_owned(),
            |file| format!("an authority in {}", file.display()),
        )
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

fn ssl(tls: &TlsSettings) -> Result<SslOptions, ConnectError> {
    let mut options = mqtt::SslOptionsBuilder::new();
    options.enable_server_cert_auth(true).verify(true).disable_default_trust_store(tls.ca_file.is_some());
    let bad = |key: &'static str| {
        move |_: mqtt::Error| ConnectError::Setting {
            key,
            problem: "is no path that OpenSSL can be given".to_owned(),
        }
    };
    if let Some(path) = &tls.ca_file {
        options.trust_store(path).map_err(bad("tls.ca_file"))?;
    }
    if let Some(path) = &tls.cert_file {
        options.key_store(path).map_err(bad("tls.cert_file"))?;
    }
    if let Some(path) = &tls.key_file {
        options.private_key(path).map_err(bad("tls.key_file"))?;
    }
    Ok(options.finalize())
}

/// OpenSSL only says that it failed; what can be seen beforehand is said here.
fn look_at_files(tls: &TlsSettings) -> Result<(), ConnectError> {
    let files = [
        ("tls.ca_file", &tls.ca_file, "CERTIFICATE"),
        ("tls.cert_file", &tls.cert_file, "CERTIFICATE"),
        ("tls.key_file", &tls.key_file, "PRIVATE KEY"),
    ];
    for (key, path, kind) in files {
        if let Some(path) = path {
            look_at(path, kind).map_err(|problem| ConnectError::File { key, path: path.clone(), problem })?;
        }
    }
    Ok(())
}

fn look_at(path: &Path, kind: &str) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut begins = text.lines().filter(|line| line.starts_with("-----BEGIN"));
    if !begins.any(|line| line.contains(kind)) {
        return Err(format!("holds no {} in PEM form", kind.to_lowercase()));
    }
    if kind == "PRIVATE KEY" && text.contains("ENCRYPTED") {
        return Err(
            "is encrypted, and a pass phrase can't be given; decrypt it and protect the file".to_owned()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_id_says_who_speaks() {
        let identity = Identity { gateway_id: "gw".into(), site_id: "s".into(), hostname: "host".into() };
        assert_eq!(client_id("bifrost-{hostname}-{gateway_id}-{site_id}", &identity), "bifrost-host-gw-s");
    }

    #[test]
    fn files_that_openssl_would_choke_on_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let good = file("ca", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        let locked = file("key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
        let other = file("other", "no certificate\n");
        let tls = |ca: &Path, key: Option<&Path>| TlsSettings {
            enabled: true,
            ca_file: Some(ca.to_owned()),
            cert_file: None,
            key_file: key.map(Path::to_owned),
        };
        assert!(look_at_files(&tls(&good, None)).is_ok());
        for (tls, part) in [
            (tls(&folder.path().join("none"), None), "can't be read"),
            (tls(&other, None), "holds no certificate in PEM form"),
            (tls(&good, Some(&locked)), "is encrypted"),
            (tls(&good, Some(&good)), "holds no private key"),
        ] {
            let error = look_at_files(&tls).expect_err(part).to_string();
            assert!(error.contains(part) && error.starts_with("tls."), "{error}");
        }
    }
}
