//! What has to be in place before a session can begin.

use nats::Subscriber;

use super::{
    actor::Parts,
    connect::{self, Connection},
    error::NatsError,
    session::open_inbox,
    stream::{Api, Outcome, Wanted},
};

/// A connection that can be used: the stream is there, and everything is subscribed to.
pub(super) struct Ready {
    pub(super) connection: Connection,
    pub(super) stream: Option<(Wanted, Outcome)>,
    /// Its subject without the last token, and what arrives there.
    pub(super) inbox: (String, Subscriber),
    pub(super) commands: Vec<Subscriber>,
}

/// Connects, sees to the stream, and subscribes.
pub(super) async fn get_ready(parts: &Parts) -> Result<Ready, NatsError> {
    let mut connection = connect::connect(&parts.settings, &parts.identity).await?;
    let stream = ensure_stream(parts, &mut connection).await?;
    let limit = parts.settings.connect_timeout;
    let inbox = open_inbox(&connection.client, &mut connection.events, stream.is_none(), limit).await?;
    let commands = subscribe(parts, &connection).await?;
    Ok(Ready { connection, stream, inbox, commands })
}

async fn ensure_stream(
    parts: &Parts,
    connection: &mut Connection,
) -> Result<Option<(Wanted, Outcome)>, NatsError> {
    if !parts.settings.jetstream.enabled {
        return Ok(None);
    }
    let wanted = Wanted::new(&parts.settings.jetstream, &parts.identity.site_id, &parts.stream_subjects);
    let Connection { client, events, server } = connection;
    let outcome = Api { client, server, events: Some(events) }.ensure(&wanted).await?;
    Ok(Some((wanted, outcome)))
}

async fn subscribe(parts: &Parts, connection: &Connection) -> Result<Vec<Subscriber>, NatsError> {
    let mut subscribers = Vec::new();
    if !parts.settings.commands.enabled {
        return Ok(subscribers);
    }
    for subject in parts.routes.subscriptions() {
        let subscribed = connection.client.subscribe(subject).await;
        subscribers.push(subscribed.map_err(|error| NatsError::Lost {
            server: connection.server.clone(),
            problem: Some(error.to_string()),
        })?);
    }
    Ok(subscribers)
}
