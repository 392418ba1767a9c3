//! What the types look like that the model and the actors serialise themselves: for the description alone.
//!
//! Tests compare each with what is really sent, so that the two can't drift apart.

use utoipa::ToSchema;

/// A boolean, a number, a text, or null when there is no value.
#[derive(Debug, ToSchema)]
#[schema(as = Value, value_type = Option<serde_json::Value>)]
pub struct ValueSchema(pub serde_json::Value);

/// A tag with its value.
#[derive(Debug, ToSchema)]
#[schema(as = Tag)]
pub struct TagSchema {
    /// Unique within its device.
    pub id: String,
    /// The device it belongs to.
    pub device_id: String,
    /// For people.
    pub name: String,
    /// As configured.
    #[schema(example = "40001")]
    pub address: String,
    /// As stored in the device.
    #[schema(example = "float32")]
    pub data_type: String,
    /// In engineering units.
    pub value: ValueSchema,
    /// `GOOD`, `UNCERTAIN`, `STALE` or `BAD`.
    #[schema(example = "GOOD")]
    pub quality: String,
    /// Why it isn't GOOD; absent when it is.
    #[schema(required = false)]
    pub quality_reason: String,
    /// When it was read.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// The scan it belongs to, counted up by one per device; absent before the first, and for reads outside
    /// of the schedule.
    #[schema(required = false)]
    pub seq: u64,
    /// Engineering unit of the value.
    #[schema(example = "degC")]
    pub unit: String,
    /// Whether a command may write it.
    pub writable: bool,
    /// For people.
    pub description: String,
}

/// How a tag is configured.
#[derive(Debug, ToSchema)]
#[schema(as = TagSettings)]
pub struct TagSettingsSchema {
    /// Unique within the device.
    pub id: String,
    /// For people; absent: the id.
    pub name: Option<String>,
    /// For people.
    #[schema(required = false)]
    pub description: String,
    /// Modicon (`40001`) or explicit (`holding:0`), with `.N` for a bit.
    #[schema(example = "40001")]
    pub address: String,
    /// `bool`, `int16`, `uint16`, `int32`, `uint32`, `int64`, `uint64`, `float32`, `float64` or `string(N)`.
    pub data_type: Option<String>,
    /// `ABCD`, `CDAB`, `BADC` or `DCBA`.
    #[schema(required = false)]
    pub byte_order: String,
    /// Raw value times this …
    #[schema(required = false)]
    pub scale: f64,
    /// … plus this is the value.
    #[schema(required = false)]
    pub offset: f64,
    /// Engineering unit.
    #[schema(required = false)]
    pub unit: String,
    /// Published when moved by at least this; absent: every scan.
    pub deadband: Option<f64>,
    /// Instead of the device's, as `100ms`.
    pub poll_interval: Option<String>,
    /// Whether a command may write it.
    #[schema(required = false)]
    pub writable: bool,
    /// Smallest value that may be written.
    pub min: Option<f64>,
    /// Largest value that may be written.
    pub max: Option<f64>,
    /// `telemetry`, `status` or `critical`.
    #[schema(required = false)]
    pub class: String,
}

/// How a device is configured. Durations are written `250ms`, `30s`, `24h`.
#[derive(Debug, ToSchema)]
#[schema(as = DeviceSettings)]
pub struct DeviceSettingsSchema {
    /// Unique within the gateway.
    pub id: String,
    /// For people; absent: the id.
    pub name: Option<String>,
    /// `modbus-tcp`, `modbus-rtu`, `modbus-tls`, `opcua` or `ethernet-ip`.
    #[schema(example = "modbus-tcp")]
    pub protocol: String,
    /// `host:port`, or a serial port such as `/dev/ttyUSB0?baud=9600&parity=even`.
    #[schema(example = "192.0.2.10:502")]
    pub address: String,
    /// Modbus unit, 0 to 255.
    #[schema(required = false)]
    pub unit_id: u8,
    /// Whose device it is.
    #[schema(required = false)]
    pub tenant: String,
    /// How often its tags are read.
    #[schema(required = false, example = "1s")]
    pub poll_interval: String,
    /// How long to wait for an answer.
    #[schema(required = false, example = "1s")]
    pub timeout: String,
    /// How long to wait for a connection.
    #[schema(required = false, example = "3s")]
    pub connect_timeout: String,
    /// Most registers asked for at once, 1 to 125.
    #[schema(required = false)]
    pub max_registers_per_request: u16,
    /// Most coils or discrete inputs asked for at once, 1 to 2000.
    #[schema(required = false)]
    pub max_bits_per_request: u16,
    /// Unused registers read to save a request.
    #[schema(required = false)]
    pub max_gap: u16,
    /// Pause between connecting and the first request.
    #[schema(required = false, example = "0s")]
    pub pause_after_connect: String,
    /// Pause between an answer and the next request on the connection.
    #[schema(required = false, example = "0s")]
    pub pause_between_requests: String,
    /// RTU: how long a unit that didn't answer in time is left alone; absent: three times `timeout`.
    pub late_reply_wait: Option<String>,
    /// How often a request is repeated when the device says that it is busy.
    #[schema(required = false)]
    pub busy_retries: u32,
    /// Wait before such a repetition.
    #[schema(required = false, example = "100ms")]
    pub busy_delay: String,
    /// When an address that the device refused is tried again for the first time.
    #[schema(required = false, example = "10m")]
    pub hole_retry: String,
    /// Longest pause between attempts at a device that doesn't answer.
    #[schema(required = false, example = "5s")]
    pub retry_max: String,
    /// Age of the last good value at which a tag becomes STALE; absent: three poll intervals, at least 3 s.
    pub stale_after: Option<String>,
    /// Age of the last good value at which a tag becomes BAD; absent: ten poll intervals, at least 30 s.
    pub bad_after: Option<String>,
    /// How the connection is encrypted; for `modbus-tls`, and only there.
    pub tls: Option<DeviceTlsSchema>,
    /// `allowed`: the device may be spoken to in plain although `industrial_security` asks for encryption.
    #[schema(example = "allowed")]
    pub plaintext: Option<String>,
    /// What is read.
    #[schema(required = false)]
    pub tags: Vec<TagSettingsSchema>,
}

/// The encrypted connection to a device. Files are those of the gateway's machine.
#[derive(Debug, ToSchema)]
#[schema(as = DeviceTls)]
pub struct DeviceTlsSchema {
    /// Certificates of the authorities that the device's certificate may be signed by.
    pub ca_file: Option<String>,
    /// The gateway's certificate, which may carry its role.
    pub cert_file: Option<String>,
    /// Its private key.
    pub key_file: Option<String>,
    /// The name in the device's certificate; absent: the host in `address`.
    pub server_name: Option<String>,
    /// SHA-256 of the device's one certificate, 64 hexadecimal digits; makes up for `ca_file` and the name.
    pub pinned_sha256: Option<String>,
    /// The oldest version of TLS: `1.3` or `1.2`.
    #[schema(required = false, example = "1.3")]
    pub min_version: String,
    /// Revocation lists of the authorities in `ca_file`.
    pub crl_file: Option<String>,
}

/// Counters of one device since its actor was last built. Times are in milliseconds.
#[derive(Debug, ToSchema)]
#[schema(as = DeviceStats)]
pub struct DeviceStatsSchema {
    /// Requests sent, or tried.
    pub requests_total: u64,
    /// Requests that the device answered, refusals too.
    pub requests_successful: u64,
    /// Requests that brought no valid answer.
    pub requests_failed: u64,
    /// Refusals (exception answers) among the answered.
    pub requests_refused: u64,
    /// Mean time from a request's start to its answer, in milliseconds, waiting for the connection included.
    pub avg_response_time: f64,
    /// Slowest answer, in milliseconds.
    pub max_response_time: f64,
    /// Scans that came to their end.
    pub scans_total: u64,
    /// Scans that were cut off.
    pub scans_failed: u64,
    /// Scans left out because the one before was still running.
    pub overruns: u64,
    /// Tags read with a usable value.
    pub tags_read: u64,
    /// Tags read without.
    pub tag_failures: u64,
    /// Writes that the device acknowledged.
    pub writes_ok: u64,
    /// Writes refused, failed, expired or repeated.
    pub writes_not_ok: u64,
    /// Scans that the router's full mailbox didn't take.
    pub batches_dropped: u64,
    /// How late the last scan began, in milliseconds.
    pub last_scan_delay: f64,
    /// How late the latest scan began, in milliseconds.
    pub max_scan_delay: f64,
}

/// What a change of the devices did, or would do.
#[derive(Debug, ToSchema)]
#[schema(as = Changes)]
pub struct ChangesSchema {
    /// Devices that come.
    pub added: Vec<String>,
    /// Devices that go.
    pub removed: Vec<String>,
    /// Devices that change.
    pub changed: Vec<ChangeSchema>,
    /// Devices that stay as they are, and aren't touched.
    pub unchanged: usize,
    /// Paths of the actors that are started, stopped or rebuilt; no other is.
    pub actors: Vec<String>,
}

/// One device that changes.
#[derive(Debug, ToSchema)]
#[schema(as = Change)]
pub struct ChangeSchema {
    /// Which.
    pub id: String,
    /// Keys whose values differ.
    pub keys: Vec<String>,
}

/// Something that happened.
#[derive(Debug, ToSchema)]
#[schema(as = Event)]
pub struct EventSchema {
    /// The device it is about; empty when it is about the gateway.
    pub device_id: String,
    /// What happened, as programs see it.
    #[schema(example = "device_connected")]
    pub event_type: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// When it happened.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// What happened, as people see it.
    pub message: String,
    /// Particulars, by event type.
    #[schema(value_type = Object)]
    pub data: serde_json::Value,
}

/// A certificate that the gateway uses.
#[derive(Debug, ToSchema)]
#[schema(as = Certificate)]
pub struct CertificateSchema {
    /// `https`, `mqtt:NAME`, `nats:NAME` or `device:ID`; with `/authority` behind it: who is trusted.
    pub r#use: String,
    /// Where it is.
    pub file: String,
    /// `ok`, `expiring` (in less than 30 days), `expired` or `unreadable`.
    pub state: String,
    /// The subject's common name.
    #[schema(required = false)]
    pub common_name: String,
    /// Who has issued it.
    #[schema(required = false)]
    pub issuer: String,
    /// Serial number, hexadecimal.
    #[schema(required = false)]
    pub serial: String,
    /// SHA-256 of its DER form, hexadecimal.
    #[schema(required = false)]
    pub fingerprint: String,
    /// Not valid before.
    #[schema(format = DateTime, required = false)]
    pub not_before: String,
    /// Not valid after.
    #[schema(format = DateTime, required = false)]
    pub not_after: String,
    /// Whole days that it lasts; negative: since when it is over.
    #[schema(required = false)]
    pub days_left: i64,
    /// Why it can't be read.
    #[schema(required = false)]
    pub problem: String,
}

/// One record of the audit trail.
#[derive(Debug, ToSchema)]
#[schema(as = AuditRecord)]
pub struct AuditRecordSchema {
    /// Counts from 0 and never skips.
    pub seq: u64,
    /// When it was recorded.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// Who: `account` (or `token:…`), `address`, and by which `channel`.
    #[schema(value_type = Object)]
    pub source: serde_json::Value,
    /// `access_control`, `request_error`, `system_event`, `backup_restore`, `configuration` or `audit_log`.
    pub category: String,
    /// What happened, as programs see it.
    #[schema(example = "tag_write")]
    pub r#type: String,
    /// `begun`, `success`, `failure` or `refused`.
    pub result: String,
    /// What it was done to; left out: the gateway.
    #[schema(required = false)]
    pub object: String,
    /// Particulars, by type.
    #[schema(value_type = Object, required = false)]
    pub detail: serde_json::Value,
    /// The request that asked for it.
    #[schema(required = false)]
    pub request_id: String,
}

/// A condition that needs attention until it is gone.
#[derive(Debug, ToSchema)]
#[schema(as = Alarm)]
pub struct AlarmSchema {
    /// Same cause, same id.
    pub alarm_id: String,
    /// The device it is about; empty when it is about the gateway.
    pub device_id: String,
    /// What is wrong, as programs see it.
    #[schema(example = "actor_failed")]
    pub alarm_type: String,
    /// `info`, `warning`, `error` or `critical`.
    pub severity: String,
    /// `active` or `cleared`.
    pub state: String,
    /// When it came to this state.
    #[schema(format = DateTime)]
    pub timestamp: String,
    /// What is wrong, as people see it.
    pub message: String,
    /// The value that raised it.
    #[schema(required = false)]
    pub value: ValueSchema,
    /// The limit it passed.
    #[schema(required = false)]
    pub threshold: f64,
    /// Whether somebody has taken note.
    pub acknowledged: bool,
}

/// What became of a command.
#[derive(Debug, ToSchema)]
#[schema(as = CommandResult)]
pub struct CommandResultSchema {
    /// The command's id.
    pub command_id: String,
    /// `ok` (the device acknowledged it), `rejected` (nothing was sent), `failed`, `expired` or `duplicate`.
    pub status: String,
    /// Why it isn't `ok`.
    #[schema(required = false)]
    pub error: String,
    /// What the device holds afterwards, where that was asked for.
    #[schema(required = false)]
    pub read_back: ValueSchema,
    /// When it was decided.
    #[schema(format = DateTime)]
    pub timestamp: String,
}

/// One node of the supervisor tree with all that is below it.
#[derive(Debug, ToSchema)]
#[schema(as = Actor)]
pub struct ActorSchema {
    /// From the root, percent-encoded names joined by slashes.
    #[schema(example = "devices/press-1")]
    pub path: String,
    /// What it is.
    #[schema(example = "plc_connection")]
    pub kind: String,
    /// `running`, `backoff`, `stopped` or `failed`.
    pub state: String,
    /// How often it was rebuilt.
    pub restarts: u64,
    /// Why it ended last.
    pub last_error: Option<String>,
    /// When it came to this state.
    #[schema(format = DateTime)]
    pub since: String,
    /// What its mailbox holds at most, and what it didn't take; null for a branch.
    pub mailbox: Option<MailboxSchema>,
    /// What the actor sees of itself; only with `detail=true`.
    #[schema(required = false, value_type = Object)]
    pub detail: serde_json::Value,
    /// In start order.
    #[schema(no_recursion)]
    pub children: Vec<ActorSchema>,
}

/// A mailbox's bound, and what was dropped because of it.
#[derive(Debug, ToSchema)]
#[schema(as = Mailbox)]
pub struct MailboxSchema {
    /// Most messages that wait.
    pub capacity: usize,
    /// Messages that found it full, since the node was added.
    pub dropped: u64,
}

/// What waits for one broker.
#[derive(Debug, ToSchema)]
#[schema(as = Spool)]
pub struct SpoolSchema {
    /// The session, by name.
    pub session: String,
    /// `live`; `replaying` what waited on disk beside what is live; `spooling` to disk, since nothing is
    /// acknowledged; `waiting` for a connection.
    #[schema(example = "live")]
    pub state: String,
    /// Whether a connection takes messages.
    pub connected: bool,
    /// How much waits.
    pub depth: SpoolDepthSchema,
    /// Messages that were sent and aren't acknowledged.
    pub in_flight: usize,
    /// When the oldest message that waits was made; null when none waits.
    #[schema(format = DateTime)]
    pub oldest: Option<String>,
    /// What was dropped since the gateway started.
    pub dropped: SpoolDropsSchema,
    /// Bytes written to disk per value that came; null before the first.
    pub written_bytes_per_value: Option<f64>,
    /// Scans that aren't acknowledged yet.
    pub pending: Vec<PendingRangeSchema>,
    /// Whether there are more of them than are listed.
    pub pending_truncated: bool,
    /// Whether what waited on disk is being sent.
    pub replay: SpoolReplaySchema,
    /// Why the disk doesn't take what it should; null while it does.
    pub disk_error: Option<String>,
}

/// How much waits, and where.
#[derive(Debug, ToSchema)]
#[schema(as = SpoolDepth)]
pub struct SpoolDepthSchema {
    /// Messages in memory.
    pub memory_messages: u64,
    /// Their bytes.
    pub memory_bytes: u64,
    /// Messages on disk.
    pub disk_messages: u64,
    /// Values in them.
    pub disk_values: u64,
    /// Bytes of files.
    pub disk_bytes: u64,
}

/// What was dropped.
#[derive(Debug, ToSchema)]
#[schema(as = SpoolDrops)]
pub struct SpoolDropsSchema {
    /// Messages.
    pub messages: u64,
    /// Values in them.
    pub values: u64,
    /// The last time; null when there was none.
    pub last: Option<SpoolDropSchema>,
}

/// Why and when something was dropped.
#[derive(Debug, ToSchema)]
#[schema(as = SpoolDrop)]
pub struct SpoolDropSchema {
    /// Why.
    pub reason: String,
    /// When.
    #[schema(format = DateTime)]
    pub at: String,
}

/// Scans of one device that aren't acknowledged yet.
#[derive(Debug, ToSchema)]
#[schema(as = PendingRange)]
pub struct PendingRangeSchema {
    /// Which device.
    pub device_id: String,
    /// The first `seq`.
    pub from: u64,
    /// The last `seq`.
    pub to: u64,
}

/// Whether what waited on disk is being sent, and how fast.
#[derive(Debug, ToSchema)]
#[schema(as = SpoolReplay)]
pub struct SpoolReplaySchema {
    /// Whether it is.
    pub active: bool,
    /// At most.
    pub values_per_second: usize,
}
