//! `/ws`: the entrance of the live feed. What is said there is the WebSocket actor's affair.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};

use super::{
    endpoint::Endpoint,
    error::{Kind, Problem},
    state::ApiState,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::at("/ws").get(live)]
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
) -> Result<HttpResponse, Problem> {
    let Ok(place) = Arc::clone(&state.websocket_places).try_acquire_owned() else {
        let most = state.settings().websocket_max_clients;
        let detail = format!("{most} clients are there; the key is api.websocket_max_clients");
        return Err(Problem::new(Kind::TooManyClients, detail));
    };
    let no_handshake =
        |error| Problem::new(Kind::UpgradeRequired, format!("no WebSocket handshake: {error}"));
    let (response, session, stream) = actix_ws::handle(&request, payload).map_err(no_handshake)?;
    bifrost_actors::websocket::serve(state.gateway().clone(), session, stream, place);
    Ok(response)
}
