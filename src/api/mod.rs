//! REST and the entrance of the live feed: what programs and people ask of a running gateway.
//!
//! One file per resource. Asks actors and waits for their answers; decides nothing about devices, holds no
//! state of its own, and knows no file. Serves one listener that somebody else has bound.

mod accounts;
mod actors;
mod alarms;
mod audit;
mod auth;
mod body;
mod config;
mod control;
mod devices;
pub mod discover;
pub mod dto;
pub mod dto_brokers;
mod endpoint;
mod error;
mod events;
mod health;
mod hosts;
mod kind;
mod letters;
mod live;
mod metrics;
mod middleware;
mod openapi;
mod paging;
mod path;
mod peer;
mod query;
mod readiness;
mod record;
pub mod schemas;
mod security;
mod settings;
mod shape;
mod spool;
mod state;
mod tags;

use std::{io, net::TcpListener};

use actix_web::{
    App, HttpServer,
    dev::Server,
    http::Method,
    middleware::{Compress, from_fn},
    web::Data,
};

pub use auth::Access;
pub use control::{ConfigControl, ControlError, ReloadReport};
pub use discover::{AddressRange, DiscoverySettings};
pub use error::{Details, KeyProblem, Kind, Problem};
pub use openapi::description;
pub use readiness::Readiness;
pub use record::Who;
pub use settings::ApiSettings;
pub use state::ApiState;

use endpoint::Endpoint;

/// All paths there are.
fn endpoints() -> Vec<Endpoint> {
    let resources = [
        devices::endpoints,
        tags::endpoints,
        actors::endpoints,
        events::endpoints,
        alarms::endpoints,
        letters::endpoints,
        accounts::endpoints,
        audit::endpoints,
        security::endpoints,
        spool::endpoints,
        config::endpoints,
        auth::endpoints,
        health::endpoints,
        metrics::endpoints,
        live::endpoints,
        openapi::endpoints,
    ];
    resources.into_iter().flat_map(|of_resource| of_resource()).collect()
}

/// Method and path of everything that is served, paths as in the description.
pub fn routes() -> Vec<(Method, &'static str)> {
    access().into_iter().map(|(method, path, _)| (method, path)).collect()
}

/// The same, with who may use them.
pub fn access() -> Vec<(Method, &'static str, Access)> {
    endpoints().iter().flat_map(|endpoint| endpoint.documented().to_vec()).collect()
}

/// Serves HTTP, or HTTPS where the state has an identity, on a bound listener; must run inside an actix system.
/// Ends when its handle is told to stop.
///
/// # Errors
/// When the listener can't be taken over, or the identity can't be used.
pub fn serve(listener: TcpListener, state: ApiState) -> io::Result<Server> {
    let settings = state.settings().clone();
    let identity = state.identity().cloned();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(state.bounds()))
            .app_data(Data::new(state.clone()))
            .configure(|config| endpoints().into_iter().for_each(|endpoint| endpoint.register(config)))
            .wrap(from_fn(auth::identity))
            .wrap(Compress::default())
            .wrap(from_fn(middleware::envelope))
    });
    let keep_alive = (!settings.keep_alive.is_zero()).then_some(settings.keep_alive);
    let server = server
        .workers(settings.workers)
        .max_connections(settings.max_connections)
        .keep_alive(keep_alive)
        .client_request_timeout(settings.client_request_timeout)
        .tls_handshake_timeout(settings.handshake_timeout)
        .on_connect(peer::introduce)
        // Else an answer waits for the acknowledgement of the handshake's last message, 40 ms.
        .tcp_nodelay(true)
        .shutdown_timeout(settings.shutdown_timeout.as_secs())
        .disable_signals();
    let server = match identity {
        Some(identity) => {
            let acceptor = identity.acceptor().map_err(io::Error::other)?;
            server.listen_openssl(listener, acceptor)?
        }
        None => server.listen(listener)?,
    };
    Ok(server.run())
}
