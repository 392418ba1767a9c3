//! `/api/openapi.json`: the description of all paths, made from the code that serves them; and `/`, the index.

use actix_web::web::Json;
use serde_json::json;
use utoipa::{
    Modify, OpenApi,
    openapi::{self, ContentBuilder, Ref, RefOr, Response, ResponseBuilder, path::Operation},
};

use super::{
    accounts, actors, alarms, audit,
    auth::{self, Access},
    config, devices, discover,
    endpoint::Endpoint,
    error, events, health, letters, live, metrics, security, spool, tags,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/openapi.json").get(Access::Anyone, describe),
        Endpoint::at("/").get(Access::Anyone, index),
    ]
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bifrost",
        description = "A gateway that reads a plant's PLCs and carries what it reads to those who need it. \
            Times are RFC 3339 in UTC; durations in settings are written 250ms, 30s, 24h; every error is \
            problem details (RFC 9457). Lists page with `limit` and `cursor`. Every path that answers GET \
            answers HEAD."
    ),
    paths(
        devices::list, devices::create, devices::show, devices::replace, devices::remove, devices::tags,
        devices::stats, devices::info, devices::forget, discover::discover,
        tags::read_by_query, tags::read, tags::write,
        actors::tree, actors::branch, actors::act,
        events::list, alarms::list, alarms::acknowledge, config::reload,
        letters::list, letters::show, letters::replay, letters::delete, letters::delete_all, spool::list, accounts::accounts, accounts::create, accounts::update, accounts::remove, accounts::tokens, accounts::issue,
        accounts::revoke, accounts::sessions, accounts::end_session, audit::list, security::certificates, security::status,
        health::health, health::readiness, metrics::metrics, live::live, auth::login, auth::refresh, auth::logout, auth::me, auth::password, describe, index,
    ),
    components(schemas(error::Details)),
    modifiers(&EveryError),
    tags(
        (name = "devices", description = "PLCs: state, configuration, discovery"),
        (name = "tags", description = "Values now, and orders to write them"),
        (name = "actors", description = "The supervisor tree"),
        (name = "events", description = "What happened"),
        (name = "alarms", description = "What needs attention"),
        (name = "brokers", description = "What waits for brokers, and what they refuse"),
        (name = "config", description = "The configuration"),
        (name = "audit", description = "Who did what"),
        (name = "security", description = "Certificates, and how the gateway is secured"),
        (name = "identity", description = "Log-ins and sessions"),
        (name = "operation", description = "Health, metrics, this description"),
    )
)]
struct Description;

/// Gives every answer of 400 and more that says nothing else the body of a problem, and every operation a
/// `default` for those that any path can give.
struct EveryError;

impl Modify for EveryError {
    fn modify(&self, description: &mut openapi::OpenApi) {
        for item in description.paths.paths.values_mut() {
            let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    let any = "Any problem: 400, 401, 403 (a permission is missing; foreign host or origin), 404, 405, 408, 413, 415, 500, 503, 504";
    let responses = &mut operation.responses.responses;
    responses.insert("default".to_owned(), ResponseBuilder::new().description(any).build().into());
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && (status == "default" || status.as_str() >= "4")
            && response.content.is_empty()
        {
            describe_problem(response);
        }
    }
}

fn describe_problem(response: &mut Response) {
    let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
    let content = ContentBuilder::new().schema(Some(schema)).build();
    response.content.insert(error::CONTENT_TYPE.to_owned(), RefOr::T(content));
}

/// The description of all paths.
pub fn description() -> openapi::OpenApi {
    Description::openapi()
}

/// Describes all paths, in the notation that this is written in.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "operation", operation_id = "get_description",
    responses((status = 200, description = "This description", body = Object))
)]
pub(super) async fn describe() -> Json<openapi::OpenApi> {
    Json(description())
}

/// Names the entrances.
#[utoipa::path(
    get, path = "/", tag = "operation", operation_id = "get_index",
    responses((status = 200, description = "Where to go on", body = Object))
)]
pub(super) async fn index() -> Json<serde_json::Value> {
    Json(json!({
        "name": "bifrost",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "/api/openapi.json",
        "devices": "/api/devices",
        "actors": "/api/actors",
        "events": "/api/events",
        "alarms": "/api/alarms",
        "dead_letters": "/api/dead-letters",
        "spool": "/api/spool",
        "live": "/ws",
        "health": "/health",
        "readiness": "/readiness",
        "metrics": "/metrics"
    }))
}
