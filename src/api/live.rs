//! `/ws`: the entrance of the live feed. What is said there is the WebSocket actor's affair.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use bifrost_actors::websocket::{Allowed, Permit};
use bifrost_security::{accounts::Permission, tls::Peer};
use tokio::time::Instant;

use super::{
    auth::{Access, Caller},
    endpoint::Endpoint,
    error::{Kind, Problem},
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/ws").get(Access::Anyone, live)]
}

/// Opens the live feed.
///
/// The client sends `{"type":"subscribe","topics":["device_data","device_status","events","alarms"],
/// "devices":[…]?,"tags":[…]?,"max_rate_hz":10?,"batch":false?}` and gets what is known, then what is new.
#[utoipa::path(
    get, path = "/ws", tag = "tags", operation_id = "open_live_feed",
    responses(
        (status = 101, description = "The feed is open"),
        (status = 426, description = "The request isn't a WebSocket handshake"),
        (status = 503, description = "As many clients as `api.websocket_max_clients` allows are there"),
    )
)]
pub(super) async fn live(
    state: Data<ApiState>,
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let Ok(place) = Arc::clone(&state.websocket_places).try_acquire_owned() else {
        let most = state.settings().websocket_max_clients;
        let detail = format!("{most} clients are there; the key is api.websocket_max_clients");
        return Err(Problem::new(Kind::TooManyClients, detail));
    };
    let peer = request.conn_data::<Peer>().cloned();
    let no_handshake =
        |error| Problem::new(Kind::UpgradeRequired, format!("no WebSocket handshake: {error}"));
    let (response, session, stream) =
        actix_ws::handle_with_protocols(&request, payload, &["bifrost"]).map_err(no_handshake)?;
    bifrost_actors::websocket::serve(
        state.gateway().clone(),
        session,
        stream,
        place,
        permit(&state, caller, peer),
    );
    Ok(response)
}

/// As long as what the client showed holds, and for what it is permitted then.
fn permit(state: &ApiState, caller: Caller, peer: Option<Peer>) -> Permit {
    let (authority, proof, state) = (Arc::clone(state.authority()), caller.0.proof, state.clone());
    Permit::new(move || {
        if state.has_revoked(peer.as_ref()) {
            return None;
        }
        let who = authority.still(&proof, Instant::now().into_std()).filter(|who| !who.must_change)?;
        Some(Allowed {
            tags: who.may(Permission::TagsRead),
            devices: who.may(Permission::DevicesRead),
            events: who.may(Permission::EventsRead),
        })
    })
}
