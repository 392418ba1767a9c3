//! What REST is asked and answers, beside the types that the model and the actors serialise themselves.
//!
//! What those look like is described in [`super::schemas`].

use std::sync::Arc;

use bifrost_actors::{
    gateway::{Changes, DeviceEntry},
    plc::{DeviceObservation, DeviceSettings, DeviceState},
    router::LastTag,
};
use bifrost_drivers::modbus::ByteOrder;
use bifrost_model::{Alarm, DataType, Event, Timestamp, Value};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::{IntoParams, ToSchema};

use super::{body::RequestBody, error::Kind, schemas};

impl RequestBody for DeviceSettings {
    const UNFIT: Kind = Kind::InvalidSettings;
}

/// Which part of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// At most so many entries; absent: `api.page_limit_default`, at most `api.page_limit_max`.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// One device in a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceRow {
    /// Unique within the gateway.
    pub id: String,
    /// For people.
    pub name: String,
    /// How it is spoken to.
    #[schema(example = "modbus-tcp")]
    pub protocol: &'static str,
    /// `host:port`, or a serial port.
    pub address: String,
    /// Modbus unit.
    pub unit_id: u8,
    /// Whose device it is.
    pub tenant: String,
    /// Whether it answered last.
    pub connected: bool,
    /// `starting`, `online`, `degraded` (some requests fail) or `offline`.
    #[schema(value_type = String, example = "online")]
    pub state: DeviceState,
    /// When it last answered.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_seen: Option<Timestamp>,
    /// What went wrong last; null while all is well.
    pub last_error: Option<String>,
    /// When this state began; null while its actor is being rebuilt.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// How many tags it has.
    pub tags: usize,
}

impl DeviceRow {
    /// From what is configured and, unless its actor is away, what that observes.
    pub fn new(device: &DeviceEntry, observed: Option<&DeviceObservation>) -> Self {
        let settings = &device.settings;
        let status = observed.map(|observed| &observed.status);
        let away = || Some("its actor is stopped or being rebuilt; see GET /api/actors".to_owned());
        Self {
            id: settings.id.clone(),
            name: settings.name.clone().unwrap_or_else(|| settings.id.clone()),
            protocol: settings.protocol.as_str(),
            address: settings.address.clone(),
            unit_id: settings.unit_id,
            tenant: settings.tenant.clone(),
            connected: status.is_some_and(|status| status.connected),
            state: status.map_or(DeviceState::Offline, |status| status.state),
            last_seen: status.and_then(|status| status.last_seen),
            last_error: status.map_or_else(away, |status| status.last_error.clone()),
            since: status.map(|status| status.since),
            tags: device.tags.len(),
        }
    }
}

/// One page of devices, by id.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceList {
    /// By id.
    pub devices: Vec<DeviceRow>,
    /// How many are on this page.
    pub count: usize,
    /// How many there are.
    pub total: usize,
    /// Asks for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// One device: how it is, and how it is configured.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceDetail {
    /// How it is.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// How it is configured; what `PUT` takes.
    #[schema(value_type = schemas::DeviceSettingsSchema)]
    pub settings: DeviceSettings,
}

/// A device that was added or changed, and what that did.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceChanged {
    /// The device as it is now.
    pub device: DeviceDetail,
    /// What was done.
    #[schema(value_type = schemas::ChangesSchema)]
    pub changes: Changes,
}

/// What removing a device did.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceRemoved {
    /// What was done.
    #[schema(value_type = schemas::ChangesSchema)]
    pub changes: Changes,
}

/// What is known of a device beside its counters.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceInfo {
    /// How it is.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// How often its tags are read, in milliseconds.
    pub poll_interval_ms: u128,
    /// How long an answer is waited for, in milliseconds.
    pub timeout_ms: u128,
    /// What the driver learned of the device (holes, limits), and how reads are planned now.
    #[schema(value_type = Object)]
    pub learned: serde_json::Value,
    /// Number of the next published scan; null until numbers are reserved.
    pub next_seq: Option<u64>,
    /// Commands that wait for the device or are being carried out.
    pub writes_pending: usize,
}

/// Tags with their values, in the form that all peers see.
#[derive(Debug)]
pub struct Tags(pub Vec<LastTag>);

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().filter_map(LastTag::tag))
    }
}

/// One page of a device's tags, in configured order.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagList {
    /// With the last known values.
    #[schema(value_type = Vec<schemas::TagSchema>)]
    pub tags: Tags,
    /// How many are on this page.
    pub count: usize,
    /// How many there are.
    pub total: usize,
    /// Asks for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Tags to read now: by id, all of them, or a point of the device that is no tag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadRequest {
    /// Of which device.
    pub device_id: String,
    /// Which tags; absent: all.
    #[serde(default)]
    pub tag_ids: Option<Vec<String>>,
    /// Instead of `tag_ids`: an address such as `40001` or `holding:0`.
    #[serde(default)]
    pub tag_address: Option<String>,
    /// With `tag_address`: how it is stored; absent: `bool` for bits, `uint16` for registers.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "float32")]
    pub data_type: Option<DataType>,
    /// With `tag_address`: order of the bytes; absent: `ABCD`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "ABCD")]
    pub byte_order: Option<ByteOrder>,
    /// With `tag_address`: raw value times this …
    #[serde(default)]
    pub scale: Option<f64>,
    /// … plus this.
    #[serde(default)]
    pub offset: Option<f64>,
    /// The last known values instead of asking the device.
    #[serde(default)]
    pub cached: bool,
}

impl RequestBody for ReadRequest {}

/// The same as query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReadQuery {
    /// Of which device.
    pub device_id: String,
    /// Which tags, with commas or repeated; absent: all. Ids with a comma need `POST`.
    pub tag_ids: Option<String>,
    /// Instead of `tag_ids`: an address such as `40001` or `holding:0`.
    pub tag_address: Option<String>,
    /// With `tag_address`: how it is stored; absent: `bool` for bits, `uint16` for registers.
    #[param(value_type = Option<String>)]
    pub data_type: Option<DataType>,
    /// With `tag_address`: order of the bytes; absent: `ABCD`.
    #[param(value_type = Option<String>)]
    pub byte_order: Option<ByteOrder>,
    /// With `tag_address`: raw value times this …
    pub scale: Option<f64>,
    /// … plus this.
    pub offset: Option<f64>,
    /// The last known values instead of asking the device.
    #[serde(default)]
    pub cached: bool,
}

impl From<ReadQuery> for ReadRequest {
    fn from(query: ReadQuery) -> Self {
        let split = |ids: String| ids.split(',').map(str::to_owned).collect();
        Self {
            device_id: query.device_id,
            tag_ids: query.tag_ids.map(split),
            tag_address: query.tag_address,
            data_type: query.data_type,
            byte_order: query.byte_order,
            scale: query.scale,
            offset: query.offset,
            cached: query.cached,
        }
    }
}

/// Tags that were read.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadAnswer {
    /// Of which device.
    pub device_id: String,
    /// In the order asked for.
    #[schema(value_type = Vec<schemas::TagSchema>)]
    pub tags: Tags,
    /// How many.
    pub count: usize,
}

/// An order to write one tag.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteRequest {
    /// Of which device.
    pub device_id: String,
    /// Which tag.
    pub tag_id: String,
    /// In engineering units.
    #[schema(value_type = schemas::ValueSchema)]
    pub value: Value,
    /// The same id is carried out once; absent: one is made up.
    #[serde(default)]
    pub command_id: Option<String>,
    /// Not to be carried out after this.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether to read the tag afterwards.
    #[serde(default)]
    pub read_back: bool,
}

impl RequestBody for WriteRequest {}

/// How much of the tree to show.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TreeQuery {
    /// With what each actor sees of itself.
    #[serde(default)]
    pub detail: bool,
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// At most so many entries; absent: `api.page_limit_default`, at most `api.page_limit_max`.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Only those of this device.
    pub device_id: Option<String>,
}

/// One page of events, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventList {
    /// Newest first.
    #[schema(value_type = Vec<schemas::EventSchema>)]
    pub events: Vec<Arc<Event>>,
    /// How many are on this page.
    pub count: usize,
    /// Asks for older ones; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Which alarms.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlarmQuery {
    /// At most so many entries; absent: `api.page_limit_default`, at most `api.page_limit_max`.
    pub limit: Option<usize>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Without those whose cause is gone.
    #[serde(default)]
    pub active: bool,
}

/// One page of alarms, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct AlarmList {
    /// Newest first.
    #[schema(value_type = Vec<schemas::AlarmSchema>)]
    pub alarms: Vec<Arc<Alarm>>,
    /// How many are on this page.
    pub count: usize,
    /// How many there are.
    pub total: usize,
    /// Asks for older ones; absent when there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// An alarm that somebody took note of.
#[derive(Debug, Serialize, ToSchema)]
pub struct Acknowledged {
    /// Which.
    pub alarm_id: String,
    /// Always true.
    pub acknowledged: bool,
}

/// Whether to reload, or only to say what that would do.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReloadQuery {
    /// Only compare.
    #[serde(default)]
    pub dry_run: bool,
}

/// The process lives.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`
    pub status: &'static str,
    /// Since the API was started, in seconds.
    pub uptime_seconds: u64,
    /// Of the gateway.
    pub version: &'static str,
}

/// Whether the gateway does its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReadinessAnswer {
    /// Whether it is ready.
    pub ready: bool,
    /// What it waits for; absent when ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}
