//! `/api/tags/read` and `/api/tags/write`: values now, straight from the device, and orders to write one.

use std::{sync::Arc, time::Duration};

use actix_web::web::{Data, Json};
use bifrost_actors::{
    commands::{Order, Origin, ReadError},
    gateway::DeviceEntry,
    plc::ReadPoint,
    router::{LastTag, Unknown},
};
use bifrost_drivers::{
    DeviceError,
    modbus::{Address, Point},
};
use bifrost_model::{CommandResult, DataType, DeviceTags, TagClass, TagInfo, check_id};
use bifrost_security::accounts::Permission;

use super::{
    body::Body,
    dto::{ReadAnswer, ReadQuery, ReadRequest, Tags, WriteRequest},
    endpoint::Endpoint,
    error::{KeyProblem, Kind, Problem},
    query::Query,
    record::Who,
    schemas,
    state::{ApiState, ports, rebuilt},
};

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::at("/api/tags/read")
            .get(Permission::TagsRead, read_by_query)
            .post(Permission::TagsRead, read),
        Endpoint::at("/api/tags/write").post(Permission::TagsWrite, write),
    ]
}

/// Reads tags from the device now; see `POST`.
#[utoipa::path(
    get, path = "/api/tags/read", tag = "tags", operation_id = "read_tags_by_query", params(ReadQuery),
    responses(
        (status = 200, description = "What was read", body = ReadAnswer),
        (status = 404, description = "No such device or tag"),
        (status = 502, description = "The device can't be reached"),
        (status = 503, description = "Too much is waiting for the device, or its actor is being rebuilt"),
        (status = 504, description = "The device didn't answer in time"),
    )
)]
pub(super) async fn read_by_query(
    state: Data<ApiState>,
    query: Query<ReadQuery>,
) -> Result<Json<ReadAnswer>, Problem> {
    answer(&state, query.0.into()).await
}

/// Reads tags from the device now, outside of its schedule, or their last known values.
///
/// A tag that the device refuses has quality BAD and says why; the others are not harmed.
#[utoipa::path(
    post, path = "/api/tags/read", tag = "tags", operation_id = "read_tags", request_body = ReadRequest,
    responses(
        (status = 200, description = "What was read", body = ReadAnswer),
        (status = 404, description = "No such device or tag"),
        (status = 502, description = "The device can't be reached"),
        (status = 503, description = "Too much is waiting for the device, or its actor is being rebuilt"),
        (status = 504, description = "The device didn't answer in time"),
    )
)]
pub(super) async fn read(
    state: Data<ApiState>,
    body: Body<ReadRequest>,
) -> Result<Json<ReadAnswer>, Problem> {
    answer(&state, body.0).await
}

async fn answer(state: &ApiState, asked: ReadRequest) -> Result<Json<ReadAnswer>, Problem> {
    check_combination(&asked)?;
    let device = state.device(&asked.device_id)?;
    let tags = if let Some(address) = &asked.tag_address {
        vec![read_point(&device, address, &asked).await?]
    } else {
        let read = state.gateway().commands().read(&asked.device_id, asked.tag_ids, asked.cached);
        read.await.map_err(|error| not_read(&device, &error))?
    };
    Ok(Json(ReadAnswer { device_id: asked.device_id, count: tags.len(), tags: Tags(tags) }))
}

/// What can't be meant together.
fn check_combination(asked: &ReadRequest) -> Result<(), Problem> {
    let point = asked.tag_address.is_some();
    let alone = "says how tag_address is read; of tags it is configured";
    let checks = [
        ("tag_ids", point && asked.tag_ids.is_some(), "tag_ids and tag_address exclude each other"),
        ("cached", point && asked.cached, "what is no tag has no last known value; leave cached out"),
        ("data_type", !point && asked.data_type.is_some(), alone),
        ("byte_order", !point && asked.byte_order.is_some(), alone),
        ("scale", !point && asked.scale.is_some(), alone),
        ("offset", !point && asked.offset.is_some(), alone),
    ];
    let wrong = checks.into_iter().filter(|(_, wrong, _)| *wrong);
    let errors: Vec<_> = wrong.map(|(key, _, reason)| KeyProblem::new(key, reason)).collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_keys(Kind::InvalidBody, errors)) }
}

fn not_read(device: &DeviceEntry, error: &ReadError) -> Problem {
    match error {
        ReadError::Unknown(error) => unknown(error),
        ReadError::UnknownTags { device, tags } => {
            let errors = tags.iter().map(|id| KeyProblem::new("tag_ids", format!("no tag {id:?}"))).collect();
            let first = tags.first().map_or("", String::as_str);
            unknown_tag(device, first).with_errors(errors)
        }
        ReadError::Away(who) => rebuilt(who),
        ReadError::Device(error) => unreachable_device(device, error),
    }
}

async fn read_point(device: &DeviceEntry, text: &str, asked: &ReadRequest) -> Result<LastTag, Problem> {
    let refused =
        |reason: String| Problem::of_keys(Kind::InvalidBody, vec![KeyProblem::new("tag_address", reason)]);
    let address: Address = text.parse().map_err(|error| refused(format!("{error}")))?;
    let of_bits = address.table.is_bits() || address.bit.is_some();
    let data_type = asked.data_type.unwrap_or(if of_bits { DataType::Bool } else { DataType::Uint16 });
    let (scale, offset) = (asked.scale.unwrap_or(1.0), asked.offset.unwrap_or(0.0));
    let point = Point::new(address, data_type, asked.byte_order.unwrap_or_default(), scale, offset);
    let point = point.map_err(|error| refused(error.to_string()))?;
    let read = ports(device)?.read_point.send(ReadPoint(point)).await.map_err(|_| away(device))?;
    let read = read.map_err(|error| unreachable_device(device, &error))?;
    let mut reading = read.reading;
    reading.tag = 0;
    let device = Arc::new(point_as_tag(device, text, data_type));
    Ok(LastTag { device, reading, timestamp: read.timestamp, seq: None })
}

/// A device with the one point as its tag, so that it is shown as tags are.
fn point_as_tag(device: &DeviceEntry, address: &str, data_type: DataType) -> DeviceTags {
    let info = TagInfo {
        id: address,
        name: address,
        address,
        data_type,
        unit: "",
        description: "",
        writable: false,
        class: TagClass::Telemetry,
    };
    DeviceTags::new(Arc::clone(device.tags.device_id()), Arc::clone(device.tags.tenant()), [info])
}

fn away(device: &DeviceEntry) -> Problem {
    rebuilt(&format!("the actor of device {:?}", device.settings.id))
}

fn unknown_tag(device: &str, tag: &str) -> Problem {
    let detail = format!("device {device:?} has no tag {tag:?}; see GET /api/devices/{{id}}/tags");
    Problem::new(Kind::UnknownTag, detail)
}

/// What the router doesn't know.
pub(super) fn unknown(error: &Unknown) -> Problem {
    match error {
        Unknown::Device(id) => Problem::unknown_device(id),
        Unknown::Tag { device, tag } => unknown_tag(device, tag),
    }
}

fn unreachable_device(device: &DeviceEntry, error: &DeviceError) -> Problem {
    let kind = match error {
        DeviceError::Timeout(_) | DeviceError::NotAsked(_) => Kind::DeviceTimeout,
        DeviceError::Busy => Kind::DeviceBusy,
        DeviceError::Offline(_) | DeviceError::Transport(_) | DeviceError::UnitUnreachable { .. } => {
            Kind::DeviceUnreachable
        }
    };
    let settings = &device.settings;
    Problem::new(kind, format!("device {:?} at {}: {error}", settings.id, settings.address))
}

/// Writes one tag, ahead of all waiting reads.
///
/// Every command that could be understood is answered with 200 and what became of it; the same
/// `command_id` is carried out once.
#[utoipa::path(
    post, path = "/api/tags/write", tag = "tags", operation_id = "write_tag", request_body = WriteRequest,
    responses(
        (status = 200, description = "What became of it", body = schemas::CommandResultSchema),
        (status = 400, description = "The command can't be understood"),
        (status = 404, description = "No such device or tag"),
    )
)]
pub(super) async fn write(
    state: Data<ApiState>,
    who: Who,
    body: Body<WriteRequest>,
) -> Result<Json<CommandResult>, Problem> {
    let WriteRequest { device_id, tag_id, value, command_id, expires_at, read_back } = body.0;
    let command_id = command_id.map(check_command_id).transpose()?;
    let order = Order { command_id, tag_id, value, expires_at, read_back };
    let handed = state.gateway().commands().write(&device_id, order, Origin::Rest(who.requester()));
    let handed = handed.map_err(|error| unknown(&error))?;
    Ok(Json(handed.result_within(answer_limit(&state)).await))
}

/// A little less than any request has: a command that was understood is answered with a result, not with 504.
fn answer_limit(state: &ApiState) -> Duration {
    state.settings().request_timeout.mul_f32(0.9)
}

fn check_command_id(id: String) -> Result<String, Problem> {
    let refused =
        |error| Problem::of_keys(Kind::InvalidBody, vec![KeyProblem::new("command_id", format!("{error}"))]);
    check_id(&id).map_err(refused)?;
    Ok(id)
}
