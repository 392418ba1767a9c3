//! `/api/devices`: which devices there are, how they are, and how they are configured.

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::{self, Data, Json},
};
use bifrost_actors::{
    gateway::{Changes, DeviceEntry},
    plc::{DeviceObservation, DeviceSettings, DeviceStats, ForgetLearned, ObserveDevice},
    router::ReadLast,
    supervision::encode_name,
};
use bifrost_security::accounts::Permission;
use futures_util::future::join_all;

use super::{
    body::Body,
    config,
    discover::{self, discover},
    dto::{
        DeviceChanged, DeviceDetail, DeviceInfo, DeviceList, DeviceRemoved, DeviceRow, ListQuery, TagList,
        Tags,
    },
    endpoint::Endpoint,
    error::{KeyProblem, Kind, Problem},
    paging::{Page, bad_cursor, cursor},
    path::DeviceId,
    query::Query,
    record::Who,
    schemas,
    state::{ApiState, ports, rebuilt},
    tags::unknown,
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/devices")
            .get(Permission::DevicesRead, list)
            .post(Permission::DevicesConfigure, create),
        // A device may be called `discover`: what isn't a scan is about that device.
        Endpoint::at(discover::PATH)
            .post(Permission::DevicesConfigure, discover)
            .other(Permission::DevicesRead, web::get().to(show), None)
            .other(Permission::DevicesRead, web::head().to(show), None)
            .other(Permission::DevicesConfigure, web::put().to(replace), None)
            .other(Permission::DevicesConfigure, web::delete().to(remove), None),
        Endpoint::at("/api/devices/{id}")
            .get(Permission::DevicesRead, show)
            .put(Permission::DevicesConfigure, replace)
            .delete(Permission::DevicesConfigure, remove),
        Endpoint::at("/api/devices/{id}/tags").get(Permission::TagsRead, tags),
        Endpoint::at("/api/devices/{id}/stats").get(Permission::DevicesRead, stats),
        Endpoint::at("/api/devices/{id}/info").get(Permission::DevicesRead, info),
        Endpoint::at("/api/devices/{id}/forget").post(Permission::DevicesConfigure, forget),
    ]
}

/// Lists the devices by id, each with its state.
#[utoipa::path(
    get, path = "/api/devices", tag = "devices", operation_id = "list_devices", params(ListQuery),
    responses((status = 200, description = "One page of devices", body = DeviceList))
)]
pub(super) async fn list(
    state: Data<ApiState>,
    query: Query<ListQuery>,
) -> Result<Json<DeviceList>, Problem> {
    let page = Page::new(query.0.limit, query.0.cursor.as_deref(), state.settings())?;
    let all = state.gateway().devices();
    let total = all.len();
    let rest =
        all.into_iter().filter(|device| page.after.as_ref().is_none_or(|after| device.settings.id > *after));
    let (devices, more) = page.cut(rest);
    let limit = state.settings().observe_timeout;
    let observed = join_all(devices.iter().map(|device| observe(device, limit))).await;
    let next_cursor = devices.last().filter(|_| more).map(|last| cursor(&last.settings.id));
    let rows =
        devices.iter().zip(&observed).map(|(device, observed)| DeviceRow::new(device, observed.as_ref()));
    let devices: Vec<_> = rows.collect();
    Ok(Json(DeviceList { count: devices.len(), devices, total, next_cursor }))
}

/// What a device's actor knows of its device; `None` while it is away or too slow.
async fn observe(device: &DeviceEntry, limit: Duration) -> Option<DeviceObservation> {
    let ports = device.ports.get()?;
    tokio::time::timeout(limit, ports.observe.send(ObserveDevice)).await.ok()?.ok()
}

async fn observed(state: &ApiState, device: &DeviceEntry) -> Result<DeviceObservation, Problem> {
    let observed = observe(device, state.settings().observe_timeout).await;
    observed.ok_or_else(|| rebuilt(&format!("the actor of device {:?}", device.settings.id)))
}

/// Shows one device: state and settings.
#[utoipa::path(
    get, path = "/api/devices/{id}", tag = "devices", operation_id = "get_device",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    responses(
        (status = 200, description = "The device", body = DeviceDetail),
        (status = 404, description = "No such device"),
    )
)]
pub(super) async fn show(state: Data<ApiState>, id: DeviceId) -> Result<Json<DeviceDetail>, Problem> {
    detail(&state, &id.0).await.map(Json)
}

async fn detail(state: &ApiState, id: &str) -> Result<DeviceDetail, Problem> {
    let device = state.device(id)?;
    let observed = observe(&device, state.settings().observe_timeout).await;
    let row = DeviceRow::new(&device, observed.as_ref());
    Ok(DeviceDetail { row, settings: device.full_settings() })
}

/// Adds a device, starts its actors, and keeps it over restarts.
#[utoipa::path(
    post, path = "/api/devices", tag = "devices", operation_id = "create_device",
    request_body = schemas::DeviceSettingsSchema,
    responses(
        (status = 201, description = "Added; `Location` is its path", body = DeviceChanged),
        (status = 409, description = "There is a device of this id"),
        (status = 422, description = "Settings that can't work, key by key"),
    )
)]
pub(super) async fn create(
    state: Data<ApiState>,
    who: Who,
    body: Body<DeviceSettings>,
) -> Result<HttpResponse, Problem> {
    let id = body.0.id.clone();
    let changed = put(&state, body.0, Wanted::New, who).await?;
    let location = format!("/api/devices/{}", encode_name(&id));
    Ok(HttpResponse::build(StatusCode::CREATED).insert_header((header::LOCATION, location)).json(changed))
}

/// Changes a device; only the actors concerned restart, and `changes.actors` names them.
#[utoipa::path(
    put, path = "/api/devices/{id}", tag = "devices", operation_id = "replace_device",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    request_body = schemas::DeviceSettingsSchema,
    responses(
        (status = 200, description = "Changed", body = DeviceChanged),
        (status = 400, description = "The body's id is another than the path's"),
        (status = 404, description = "No such device"),
        (status = 422, description = "Settings that can't work, key by key"),
    )
)]
pub(super) async fn replace(
    state: Data<ApiState>,
    id: DeviceId,
    who: Who,
    body: Body<DeviceSettings>,
) -> Result<Json<DeviceChanged>, Problem> {
    if body.0.id != id.0 {
        let reason = format!("is {:?}, and the path's is {:?}; a device keeps its id", body.0.id, id.0);
        return Err(Problem::of_keys(Kind::InvalidBody, vec![KeyProblem::new("id", reason)]));
    }
    put(&state, body.0, Wanted::Known, who).await.map(Json)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    New,
    Known,
}

async fn put(
    state: &Data<ApiState>,
    device: DeviceSettings,
    wanted: Wanted,
    who: Who,
) -> Result<DeviceChanged, Problem> {
    check_tags_file(&device)?;
    let id = device.id.clone();
    let control = state.control();
    let shared = state.clone();
    let changes = config::carry_out(async move {
        let _alone = shared.changing.lock().await;
        match (wanted, shared.gateway().device(&device.id).is_some()) {
            (Wanted::New, true) => Err(exists(&device.id)),
            (Wanted::Known, false) => Err(Problem::unknown_device(&device.id)),
            _ => control.put_device(device, who).await.map_err(config::refused),
        }
    })
    .await?;
    Ok(DeviceChanged { device: detail(state, &id).await?, changes })
}

/// Whoever reaches the port must not choose which of the gateway's files are read.
fn check_tags_file(device: &DeviceSettings) -> Result<(), Problem> {
    if device.tags_file.is_none() {
        return Ok(());
    }
    let reason = "is for the configuration file alone; send the tags themselves under tags";
    Err(Problem::of_keys(Kind::InvalidSettings, vec![KeyProblem::new("tags_file", reason)]))
}

fn exists(id: &str) -> Problem {
    let path = format!("/api/devices/{}", encode_name(id));
    Problem::new(Kind::DeviceExists, format!("there is a device {id:?}; change it with PUT {path}"))
}

/// Removes a device and its actors, over restarts too.
#[utoipa::path(
    delete, path = "/api/devices/{id}", tag = "devices", operation_id = "remove_device",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    responses(
        (status = 200, description = "Removed", body = DeviceRemoved),
        (status = 404, description = "No such device"),
    )
)]
pub(super) async fn remove(
    state: Data<ApiState>,
    id: DeviceId,
    who: Who,
) -> Result<Json<DeviceRemoved>, Problem> {
    let control = state.control();
    let shared = state.clone();
    let changes: Changes = config::carry_out(async move {
        let _alone = shared.changing.lock().await;
        control.remove_device(id.0, who).await.map_err(config::refused)
    })
    .await?;
    Ok(Json(DeviceRemoved { changes }))
}

/// Lists a device's tags with their last known values, in configured order.
#[utoipa::path(
    get, path = "/api/devices/{id}/tags", tag = "devices", operation_id = "list_device_tags",
    params(("id" = String, Path, description = "The device's id, percent-encoded"), ListQuery),
    responses(
        (status = 200, description = "One page of tags", body = TagList),
        (status = 404, description = "No such device"),
    )
)]
pub(super) async fn tags(
    state: Data<ApiState>,
    id: DeviceId,
    query: Query<ListQuery>,
) -> Result<Json<TagList>, Problem> {
    let device = state.device(&id.0)?;
    let page = Page::new(query.0.limit, query.0.cursor.as_deref(), state.settings())?;
    let all = &device.tags;
    let skip = page.after_number()?.map_or(Ok(0), usize::try_from).map_err(|_| bad_cursor())?;
    let (wanted, more) = page.cut(all.iter().skip(skip).map(|tag| tag.id.to_owned()));
    let (count, total) = (wanted.len(), all.len());
    let ask = ReadLast { device_id: Arc::clone(device.tags.device_id()), tag_ids: Some(wanted) };
    let last = state.router()?.read_last.send(ask).await.map_err(|_| rebuilt("the router"))?;
    let tags = Tags(last.map_err(|error| unknown(&error))?);
    let next_cursor = more.then(|| cursor((skip + count).to_string()));
    Ok(Json(TagList { tags, count, total, next_cursor }))
}

/// Shows a device's counters since its actor was last built. Times are in milliseconds.
#[utoipa::path(
    get, path = "/api/devices/{id}/stats", tag = "devices", operation_id = "get_device_stats",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    responses(
        (status = 200, description = "Counters", body = schemas::DeviceStatsSchema),
        (status = 404, description = "No such device"),
        (status = 503, description = "Its actor is being rebuilt"),
    )
)]
pub(super) async fn stats(state: Data<ApiState>, id: DeviceId) -> Result<Json<DeviceStats>, Problem> {
    let device = state.device(&id.0)?;
    Ok(Json(observed(&state, &device).await?.stats))
}

/// Shows what was learned of a device, and how it is read now.
#[utoipa::path(
    get, path = "/api/devices/{id}/info", tag = "devices", operation_id = "get_device_info",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    responses(
        (status = 200, description = "What is known", body = DeviceInfo),
        (status = 404, description = "No such device"),
        (status = 503, description = "Its actor is being rebuilt"),
    )
)]
pub(super) async fn info(state: Data<ApiState>, id: DeviceId) -> Result<Json<DeviceInfo>, Problem> {
    let device = state.device(&id.0)?;
    let observed = observed(&state, &device).await?;
    Ok(Json(DeviceInfo {
        row: DeviceRow::new(&device, Some(&observed)),
        poll_interval_ms: device.settings.poll_interval.as_millis(),
        timeout_ms: device.settings.timeout.as_millis(),
        learned: observed.learned,
        next_seq: observed.next_seq,
        writes_pending: observed.writes_pending,
    }))
}

/// Forgets what was learned of a device, so that refused addresses are tried again at once.
#[utoipa::path(
    post, path = "/api/devices/{id}/forget", tag = "devices", operation_id = "forget_learned",
    params(("id" = String, Path, description = "The device's id, percent-encoded")),
    responses(
        (status = 204, description = "Forgotten"),
        (status = 404, description = "No such device"),
        (status = 503, description = "Its actor is being rebuilt"),
    )
)]
pub(super) async fn forget(state: Data<ApiState>, id: DeviceId) -> Result<HttpResponse, Problem> {
    let device = state.device(&id.0)?;
    let sent = ports(&device)?.forget.send(ForgetLearned).await;
    sent.map_err(|_| rebuilt(&format!("the actor of device {:?}", id.0)))?;
    Ok(HttpResponse::NoContent().finish())
}
