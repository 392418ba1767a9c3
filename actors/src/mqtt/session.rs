//! From nothing to a connection on which something has been acknowledged.
//!
//! Tries MQTT 5 first where both are allowed, and 3.1.1 when the broker doesn't know it. A broker of MQTT 5
//! that doesn't take the will as it is gets it without what it can't do.

use std::{sync::Arc, time::Duration};

use mqtt::{Error, ReasonCode, ServerResponse, Token};
use paho_mqtt as mqtt;
use tokio::time::timeout;

use super::{
    Version,
    actor::Parts,
    address::Server,
    client::{Client, Failed},
    error::ConnectError,
    inbox::Inbox,
    limits::Limits,
    options::{Login, Will, plain},
    reason,
    relay::{Relay, Secured},
};

/// A connection that works.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) inbox: Arc<Inbox>,
    pub(super) server: Server,
    /// Whether it is MQTT 5.
    pub(super) v5: bool,
    pub(super) limits: Limits,
    /// Subscriptions that the broker refused, with the reason.
    pub(super) unsubscribed: Vec<String>,
    /// Why the broker didn't take the birth.
    pub(super) no_birth: Option<String>,
}

impl Session {
    /// Connects to a server, subscribes and says that the gateway is there.
    pub(super) async fn open(parts: &Parts, server: Server) -> Result<Self, ConnectError> {
        let settings = &parts.settings;
        let opener = Opener { parts, login: login(parts, &server).await?, server: &server };
        let (connected, v5) = opener.connect().await?;
        let limits = Limits::new(settings, connected.said.properties());
        let mut session = Self {
            client: connected.client,
            inbox: connected.inbox,
            server,
            v5,
            limits,
            unsubscribed: Vec::new(),
            no_birth: None,
        };
        session.begin(parts).await?;
        Ok(session)
    }

    /// Subscribes and publishes the birth; both go out together, and both are waited for: a connection on
    /// which nothing comes back is none.
    async fn begin(&mut self, parts: &Parts) -> Result<(), ConnectError> {
        let Some(client) = self.client.get() else { return Ok(()) };
        let topics = if parts.settings.commands.enabled { parts.routes.subscriptions() } else { Vec::new() };
        let subscribed = (!topics.is_empty()).then(|| client.subscribe_many_same_qos(&topics, 1));
        let qos = parts.settings.max_qos.min(self.limits.max_qos).min(1);
        let birth = client.publish(plain(&(parts.birth)(true), qos, self.limits.retain));
        let limit = parts.settings.connect_timeout;
        if let Some(token) = subscribed {
            let said = self.acknowledged(token, limit).await?;
            self.unsubscribed = refused(&topics, said);
        }
        self.no_birth = self.acknowledged(birth.into(), limit).await?.err().map(|error| told(&error));
        Ok(())
    }

    async fn acknowledged(
        &self,
        token: Token,
        limit: Duration,
    ) -> Result<Result<ServerResponse, Error>, ConnectError> {
        let server = || self.server.to_string();
        match timeout(limit, token).await {
            Err(_) => Err(ConnectError::Silent { server: server(), limit }),
            Ok(Err(Error::Disconnected | Error::OperationIncomplete)) => {
                Err(ConnectError::Closed { server: server(), hint: HINT })
            }
            Ok(said) => Ok(said),
        }
    }
}

/// What a broker may have against a client that it has let in.
const HINT: &str = "; look into its log: it may not like what this client subscribes to or publishes";

/// Reads what stands in files, away from the actor's thread.
async fn login(parts: &Parts, server: &Server) -> Result<Login, ConnectError> {
    let settings = Arc::clone(&parts.settings);
    let (identity, at) = (parts.identity.clone(), server.clone());
    let will = Will { message: (parts.birth)(false), qos: settings.max_qos.min(1), retain: true };
    let reading = actix_rt::task::spawn_blocking(move || Login::read(&settings, &identity, &at, will)).await;
    let failed = |error: tokio::task::JoinError| ConnectError::Client {
        server: server.to_string(),
        evidence: error.to_string(),
    };
    reading.map_err(failed)?
}

/// What every attempt at one server shares.
struct Opener<'a> {
    parts: &'a Parts,
    server: &'a Server,
    login: Login,
}

struct Connected {
    client: Client,
    inbox: Arc<Inbox>,
    said: ServerResponse,
}

impl Opener<'_> {
    /// Connects by the best version that both sides have.
    async fn connect(&self) -> Result<(Connected, bool), ConnectError> {
        let version = self.parts.settings.version;
        if version != Version::V311 {
            match self.attempt_v5().await? {
                Ok(connected) => return Ok((connected, true)),
                Err(failed) if version == Version::Auto && may_be_version(&failed) => {}
                Err(failed) => return Err(self.explain(failed)),
            }
        }
        let connected = self.attempt(false, self.login.will()).await?;
        connected.map(|connected| (connected, false)).map_err(|failed| self.explain(failed))
    }

    /// By MQTT 5, leaving out of the will what the broker says that it can't do.
    async fn attempt_v5(&self) -> Result<Result<Connected, Failed>, ConnectError> {
        let mut will = self.login.will().clone();
        loop {
            match self.attempt(true, &will).await? {
                Err(Failed::Verdict(Error::ReasonCode(ReasonCode::RetainNotSupported, _))) if will.retain => {
                    will.retain = false;
                }
                Err(Failed::Verdict(Error::ReasonCode(ReasonCode::QosNotSupported, _))) if will.qos > 0 => {
                    will.qos = 0;
                }
                done => return Ok(done),
            }
        }
    }

    /// One attempt: an error is that there is no connection, a failure that the broker doesn't take it.
    async fn attempt(&self, v5: bool, will: &Will) -> Result<Result<Connected, Failed>, ConnectError> {
        let (settings, server) = (&self.parts.settings, self.server);
        let limit = settings.connect_timeout;
        let inbox = Arc::new(Inbox::new());
        let stream = server.connect(limit).await?;
        let secured = self
            .login
            .tls()
            .map(|tls| Secured { connector: tls.connector.clone(), host: server.host().to_owned() });
        let relay = Relay::start(stream, secured, server.needs_name(), limit, Arc::clone(&inbox));
        let mut relay = relay.map_err(|error| self.broken(&error))?;
        relay.ready().await.map_err(|problem| self.no_tls(&problem))?;
        let proxy = server.needs_name().then(|| format!("http://{}", relay.address()));
        let options = self.login.connection(v5, will, proxy);
        let last_words = plain(&will.message, will.qos, will.retain);
        let made_of = self.login.client(&server.uri(relay.address()));
        let connected = Client::connect(made_of, options, limit, &inbox, last_words).await;
        if let (Err(_), Some(_), Some(problem)) = (&connected, self.login.tls(), relay.fault()) {
            // With TLS 1.3 a broker refuses a certificate after the handshake.
            return Err(self.no_tls(&problem));
        }
        Ok(connected.and_then(|(mut client, said)| {
            if relay.hold() {
                return Ok(Connected { client, inbox, said });
            }
            // Nothing may be written any more, not even a farewell.
            client.part();
            Err(Failed::Verdict(Error::Disconnected))
        }))
    }

    fn no_tls(&self, problem: &str) -> ConnectError {
        let trusted = self.login.tls().map_or("", |tls| &tls.trusted);
        ConnectError::Tls { server: self.server.to_string(), problem: format!("{problem} ({trusted})") }
    }

    fn broken(&self, error: &dyn std::error::Error) -> ConnectError {
        ConnectError::Client { server: self.server.to_string(), evidence: error.to_string() }
    }

    /// What Paho's verdict means.
    fn explain(&self, failed: Failed) -> ConnectError {
        let server = self.server.to_string();
        let error = match failed {
            Failed::Late => {
                return ConnectError::Timeout { server, limit: self.parts.settings.connect_timeout };
            }
            Failed::Verdict(error) => error,
        };
        match error {
            Error::ReasonCode(code, said) => {
                let said = said.get_string(mqtt::PropertyCode::ReasonString);
                refusal(server, code, said.as_deref())
            }
            Error::ConnectReturn(code) => refusal(server, reason::of_return_code(code), None),
            Error::TcpTlsConnectFailure
            | Error::Failure
            | Error::TcpConnectTimeout
            | Error::TcpConnectCompletionFailure
            | Error::SocketError(_)
            | Error::ReceivedDisconnect(_)
            | Error::Disconnected
            | Error::OperationIncomplete => self.closed(server),
            other => self.broken(&other),
        }
    }

    fn closed(&self, server: String) -> ConnectError {
        let hint = if self.server.tls {
            "; it may want a certificate of this gateway (tls.cert_file), or doesn't trust the one it was shown"
        } else {
            "; check that the port is the broker's plain one, not one for TLS, and look into the broker's log"
        };
        ConnectError::Closed { server, hint }
    }
}

/// Whether a broker that doesn't know MQTT 5 may have answered so: by its number, or by closing.
fn may_be_version(failed: &Failed) -> bool {
    let Failed::Verdict(error) = failed else { return false };
    match error {
        Error::ReasonCode(code, _) => {
            matches!(code, ReasonCode::UnsupportedProtocolVersion | ReasonCode::MalformedPacket)
        }
        Error::ConnectReturn(code) => *code == mqtt::ConnectReturnCode::UnacceptableProtocolVersion,
        // Return codes of 3.1.1 that answer a CONNECT of 5 arrive as a failure without a name.
        Error::Failure | Error::TcpConnectCompletionFailure | Error::SocketError(_) => true,
        _ => false,
    }
}

fn refusal(server: String, code: ReasonCode, said: Option<&str>) -> ConnectError {
    let more = said.map(|said| format!(" ({said})")).unwrap_or_default();
    let (code, name, advice) = (reason::number(code), reason::name(code), reason::advice(code));
    ConnectError::Refused { server, code, name, more, advice }
}

/// The topics that a broker doesn't hand out.
fn refused(topics: &[String], said: Result<ServerResponse, Error>) -> Vec<String> {
    let granted = match said {
        Ok(said) => said.subscribe_many_response().unwrap_or_default(),
        Err(error) => return topics.iter().map(|topic| format!("{topic}: {}", told(&error))).collect(),
    };
    let refused = topics.iter().zip(granted).filter(|(_, code)| *code >= 0x80);
    refused.map(|(topic, code)| format!("{topic}: {}", code_told(code))).collect()
}

fn code_told(code: i32) -> String {
    let code = u32::try_from(code).map_or(ReasonCode::UnspecifiedError, ReasonCode::from);
    format!("{} {}", reason::number(code), reason::name(code))
}

/// Why a request was refused, in a few words.
fn told(error: &Error) -> String {
    match error {
        Error::ReasonCode(code, _) => format!("{} {}", reason::number(*code), reason::name(*code)),
        _ => "refused".to_owned(),
    }
}
