//! Opens a connection: secrets, TLS, servers in turn. One connection is one session's whole life: the client
//! library is kept from reconnecting, so that every loss is seen and told.

use std::time::Duration;

use nats::{Client, ConnectOptions, Event, ServerError};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    NatsSettings,
    error::{NatsError, denial},
    tls,
};
use crate::broker::{Identity, Secret};

/// An open connection.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) events: Events,
    /// The URL of the server.
    pub(super) server: String,
}

/// What the client library tells of the connection.
pub(super) struct Events {
    server: String,
    from: UnboundedReceiver<Event>,
}

impl Events {
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn into_receiver(self) -> UnboundedReceiver<Event> {
        self.from
    }

    /// Waits until the server denies what a request needs, or the connection is lost.
    pub(super) async fn trouble(&mut self, concerns: impl Fn(&str) -> bool) -> NatsError {
        let mut problem = None;
        while let Some(event) = self.from.recv().await {
            match event {
                Event::ServerError(ServerError::Other(text)) => match denial(&text) {
                    Some((action, subject)) if concerns(subject) => {
                        return NatsError::Denied { action, subject: subject.to_owned() };
                    }
                    Some(_) => {}
                    None => problem = Some(text),
                },
                Event::Disconnected | Event::Closed => break,
                _ => {}
            }
        }
        NatsError::Lost { server: self.server.clone(), problem }
    }
}

/// What is read from files and the environment, anew at each connection.
struct Secrets {
    options: ConnectOptions,
    login: &'static str,
}

/// Connects to the first server that can be used.
pub(super) async fn connect(settings: &NatsSettings, identity: &Identity) -> Result<Connection, NatsError> {
    let own = settings.clone();
    let secrets = actix_rt::task::spawn_blocking(move || secrets(&own)).await;
    let secrets = secrets.map_err(|error| bad_key("messaging.nats", error.to_string()))??;
    let mut failures = Vec::new();
    for server in &settings.servers {
        match connect_to(server, settings, identity, &secrets).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.len() == 1 {
        return Err(failures.remove(0));
    }
    let failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    Err(NatsError::NoServer(failures.join("; ")))
}

async fn connect_to(
    server: &str,
    settings: &NatsSettings,
    identity: &Identity,
    secrets: &Secrets,
) -> Result<Connection, NatsError> {
    let limit = settings.connect_timeout;
    let (to, from) = unbounded_channel();
    let options = transport(secrets.options.clone(), settings, identity, to);
    let attempt = tokio::time::timeout(limit, options.connect(server)).await;
    let timed_out = |_| NatsError::TimedOut { server: server.to_owned(), limit };
    let client = attempt
        .map_err(timed_out)?
        .map_err(|error| NatsError::of_connecting(server, secrets.login, limit, &error))?;
    stay_with_this_connection(&client).await;
    let server = server.to_owned();
    Ok(Connection { client, events: Events { server: server.clone(), from }, server })
}

/// The library has no switch for it. Its one further attempt goes to a port that nobody can listen on and fails
/// without a packet; then it gives up.
async fn stay_with_this_connection(client: &Client) {
    if let Err(error) = client.set_server_pool("nats://127.0.0.1:0").await {
        tracing::debug!(%error, "the client library may reconnect once by itself");
    }
}

fn transport(
    options: ConnectOptions,
    settings: &NatsSettings,
    identity: &Identity,
    events: UnboundedSender<Event>,
) -> ConnectOptions {
    options
        .name(client_name(&settings.client_id, identity))
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(settings.connect_timeout))
        .ping_interval(settings.ping_interval)
        .subscription_capacity(subscription_capacity(settings))
        .ignore_discovered_servers()
        .retain_servers_order()
        .max_reconnects(1)
        .reconnect_delay_callback(|_| Duration::ZERO)
        .event_callback(move |event| {
            let _ = events.send(event);
            async {}
        })
}

/// Room for what may arrive before it is looked at: an answer to everything that is out, and a storm of requests
/// that have to be refused one by one.
fn subscription_capacity(settings: &NatsSettings) -> usize {
    const STORM: usize = 16 * 1024;
    (2 * settings.window).max(STORM)
}

fn client_name(template: &str, identity: &Identity) -> String {
    template
        .replace("{hostname}", &identity.hostname)
        .replace("{gateway_id}", &identity.gateway_id)
        .replace("{site_id}", &identity.site_id)
}

fn secrets(settings: &NatsSettings) -> Result<Secrets, NatsError> {
    let (options, login) = log_in(settings)?;
    let asked_for = settings.tls.enabled
        || settings.tls.ca_file.is_some()
        || settings.servers.iter().any(|server| server.starts_with("tls://"));
    // A server may ask for TLS by itself: then too it is ours, and not the library's own idea of it.
    let options = match tls::client_config(&settings.tls) {
        Ok(config) => options.tls_client_config(config),
        Err(error) if asked_for => return Err(error),
        Err(_) => options,
    };
    Ok(Secrets { options: options.require_tls(settings.tls.enabled), login })
}

fn log_in(settings: &NatsSettings) -> Result<(ConnectOptions, &'static str), NatsError> {
    let options = ConnectOptions::new();
    if let Some(user) = &settings.username {
        let password = read("password_file", settings.password())?.unwrap_or_default();
        return Ok((options.user_and_password(user.clone(), password), "username and password"));
    }
    if let Some(token) = read("token_file", settings.token())? {
        return Ok((options.token(token), "a token"));
    }
    if let Some(text) = read("nkey_file", file(settings.nkey_file.as_ref()))? {
        return Ok((options.nkey(seed(&text)?), "an NKEY"));
    }
    if let Some(text) = read("credentials_file", file(settings.credentials_file.as_ref()))? {
        let bad = |error: std::io::Error| bad_key("credentials_file", format!("{error}; write it with nsc"));
        // The library wants the line break at the end.
        return Ok((options.credentials(&format!("{text}\n")).map_err(bad)?, "credentials"));
    }
    Ok((options, "none is set: password_file, token_file, nkey_file or credentials_file"))
}

fn read(key: &'static str, secret: Secret<'_>) -> Result<Option<String>, NatsError> {
    secret.read().map_err(|problem| bad_key(key, problem))
}

fn file(path: Option<&std::path::PathBuf>) -> Secret<'_> {
    Secret { file: path, env: None }
}

/// The seed of a user's key: a line of its own, also in a file with comments or decoration.
fn seed(text: &str) -> Result<String, NatsError> {
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    let seed = seed.filter(|seed| seed.len() == 58 && seed.bytes().all(|b| b.is_ascii_alphanumeric()));
    seed.map(ToOwned::to_owned)
        .ok_or_else(|| bad_key("nkey_file", "holds no seed of a user's key, a line that begins with SU"))
}

fn bad_key(key: &'static str, problem: impl Into<String>) -> NatsError {
    NatsError::Key { key, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> NatsSettings {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn placeholders_of_a_client_id_are_filled_in() {
        let identity = Identity { gateway_id: "g".into(), site_id: "s".into(), hostname: "h".into() };
        assert_eq!(client_name("{site_id}-{gateway_id}-{hostname}", &identity), "s-g-h");
    }

    #[test]
    fn a_secret_that_cannot_be_had_is_named_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "not a secret").unwrap();
        let path = file.to_str().unwrap();
        for (login, part) in [
            (r#""token_file":"/does/not/exist""#.to_owned(), "token_file: /does/not/exist can't be read"),
            (r#""token_env":"BIFROST_NO_SUCH""#.to_owned(), "BIFROST_NO_SUCH is not set"),
            (format!(r#""nkey_file":{path:?}"#), "nkey_file: holds no seed"),
            (format!(r#""credentials_file":{path:?}"#), "credentials_file: cannot parse user JWT"),
        ] {
            let settings = settings(&format!(r#"{{"servers":["nats://x:1"],{login}}}"#));
            let problem = log_in(&settings).unwrap_err().to_string();
            assert!(problem.contains(part) && !problem.contains("not a secret"), "{problem}");
        }
    }

    #[test]
    fn a_seed_is_found_below_comments() {
        let seed_text = format!("SU{}", "A".repeat(56));
        assert_eq!(seed(&format!("# user\n{seed_text}\n")), Ok(seed_text.clone()));
        assert!(seed(&seed_text[..50]).is_err());
    }
}
