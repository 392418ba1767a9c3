//! The handle by which REST and sessions give commands and read tags.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use actix::prelude::RecipientRequest;
use bifrost_drivers::DeviceError;
use bifrost_model::{CommandResult, CommandStatus, DeviceTags, TagInfo};
use thiserror::Error;
use tokio::time::timeout;

use super::{FindSelection, Order, Origin, event};
use crate::{
    broker::Selection,
    dead_letters::LettersPorts,
    plc::{DevicePorts, ReadTags, WriteTag, command_limit},
    router::{EventSink, LastTag, ReadLast, RouterPorts, Unknown},
    supervision::Slot,
};

/// Beyond a command's own limit, before its actor is given up.
const GRACE: Duration = Duration::from_secs(5);

/// What is needed of a device.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its tags.
    pub(crate) tags: Arc<DeviceTags>,
    /// Its actor.
    pub(crate) ports: Slot<DevicePorts>,
    /// How long its answers are waited for.
    pub(crate) timeout: Duration,
}

/// Finds a device by its id.
pub(crate) type FindDevice = Box<dyn Fn(&str) -> Option<Target> + Send + Sync>;

/// What the handle needs.
pub(crate) struct Parts {
    /// Finds devices.
    pub(crate) find: FindDevice,
    /// Last known values.
    pub(crate) router: Slot<RouterPorts>,
    /// Where results are told.
    pub(crate) events: EventSink,
    /// What can't be understood.
    pub(crate) letters: Slot<LettersPorts>,
    /// What each session may reach, by its name.
    pub(crate) sessions: FindSelection,
}

/// The one path of commands and reads; clones are cheap and may be used from any thread.
#[derive(Clone)]
pub struct Commands(pub(super) Arc<Parts>);

impl fmt::Debug for Commands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Commands")
    }
}

/// Why tags aren't read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// No such device, or a tag of those asked for isn't there.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// Several tags aren't there.
    #[error("device {device:?} has no tags {tags:?}")]
    UnknownTags {
        /// The device.
        device: Arc<str>,
        /// What it doesn't have; at least one.
        tags: Vec<String>,
    },
    /// Somebody who is needed is stopped or being rebuilt.
    #[error("{0} is stopped or being rebuilt; ask again")]
    Away(String),
    /// The device doesn't answer.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A command that was handed to its device's actor: its place in the order is certain, its result is to come.
pub struct Handed {
    /// Its id, given or made up.
    pub command_id: Arc<str>,
    /// `None` where there was nobody to hand it to.
    answer: Option<RecipientRequest<WriteTag>>,
    limit: Duration,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("command_id", &self.command_id).finish_non_exhaustive()
    }
}

impl Handed {
    /// What became of it. Who doesn't wait for this gives up the answer, not the command.
    pub async fn result(self) -> CommandResult {
        let limit = self.limit;
        self.result_within(limit).await
    }

    /// The same, `failed` when there is no result in time; the event with the true one still comes.
    pub async fn result_within(self, limit: Duration) -> CommandResult {
        let Self { command_id, answer, .. } = self;
        let Some(answer) = answer else { return away(command_id) };
        let not_known = |why: &str| {
            let why = format!("{why}; whether it was written isn't known");
            CommandResult::not_ok(command_id, CommandStatus::Failed, why)
        };
        match timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => not_known("the device's actor ended meanwhile"),
            Err(_) => not_known(&format!("no result within {limit:?}")),
        }
    }
}

fn away(command_id: Arc<str>) -> CommandResult {
    let why = "the device's actor is stopped or being rebuilt; nothing was sent";
    CommandResult::not_ok(command_id, CommandStatus::Rejected, why)
}

impl Commands {
    /// The path to these devices.
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Hands a command to its device's actor before this returns: commands are carried out in the order of
    /// these calls. The result is told to all as an event, by the actor that decides it.
    pub fn write(&self, device_id: &str, order: Order, origin: Origin) -> Result<Handed, Unknown> {
        self.write_within(None, device_id, order, origin)
    }

    /// The same of those devices and tags only; the others aren't known.
    pub(super) fn write_within(
        &self,
        selection: Option<&Selection>,
        device_id: &str,
        order: Order,
        origin: Origin,
    ) -> Result<Handed, Unknown> {
        let target = self.target(selection, device_id)?;
        if !reaches(selection, &target.tags, &order.tag_id) {
            return Err(Unknown::Tag { device: device_id.to_owned(), tag: order.tag_id });
        }
        let (command, given_id) = order.into_command();
        let command_id = Arc::clone(&command.command_id);
        let answer = if let Some(ports) = target.ports.get() {
            // A fresh clone of the address takes a message at once: none waits outside of the mailbox.
            Some(ports.write.send(WriteTag { command, given_id, origin }))
        } else {
            let result = away(Arc::clone(&command_id));
            let tag = Some(&*command.tag_id);
            let told =
                event(Arc::clone(target.tags.device_id()), tag, Some(&command.value), &origin, &result);
            self.0.events.record(told);
            None
        };
        Ok(Handed { command_id, answer, limit: command_limit(target.timeout) + GRACE })
    }

    /// Reads tags of a device now, or their last known values; all where none are named.
    pub fn read(
        &self,
        device_id: &str,
        tag_ids: Option<Vec<String>>,
        cached: bool,
    ) -> impl Future<Output = Result<Vec<LastTag>, ReadError>> + Send + use<> {
        self.read_within(None, device_id, tag_ids, cached)
    }

    /// The same of those devices and tags only; the others aren't known.
    pub(super) fn read_within(
        &self,
        selection: Option<&Arc<Selection>>,
        device_id: &str,
        tag_ids: Option<Vec<String>>,
        cached: bool,
    ) -> impl Future<Output = Result<Vec<LastTag>, ReadError>> + Send + use<> {
        let target = self.target(selection.map(AsRef::as_ref), device_id);
        let (router, selection) = (self.0.router.get(), selection.cloned());
        async move {
            let (target, selection) = (target?, selection.as_deref());
            if cached {
                last(router, &target, tag_ids, selection).await
            } else {
                now(&target, tag_ids, selection).await
            }
        }
    }

    /// A device, if it is there and the selection lets it pass.
    pub(super) fn target(&self, selection: Option<&Selection>, device_id: &str) -> Result<Target, Unknown> {
        let passes = |target: &Target| {
            let tenant = target.tags.tenant();
            selection.is_none_or(|selection| selection.passes_device(device_id, Some(tenant)))
        };
        let found = (self.0.find)(device_id).filter(passes);
        found.ok_or_else(|| Unknown::Device(device_id.to_owned()))
    }
}

/// Whether a device has this tag, as far as the selection lets that be known.
fn reaches(selection: Option<&Selection>, tags: &DeviceTags, tag_id: &str) -> bool {
    let tag = tags.index_of(tag_id).and_then(|index| tags.get(index));
    tag.is_some_and(|tag| passes(selection, &tag))
}

fn passes(selection: Option<&Selection>, tag: &TagInfo<'_>) -> bool {
    selection.is_none_or(|selection| selection.passes_tag(tag))
}

async fn last(
    router: Option<RouterPorts>,
    target: &Target,
    tag_ids: Option<Vec<String>>,
    selection: Option<&Selection>,
) -> Result<Vec<LastTag>, ReadError> {
    let away = || ReadError::Away("the router".to_owned());
    let device = target.tags.device_id();
    let hidden = tag_ids.iter().flatten().find(|id| !reaches(selection, &target.tags, id));
    if let Some(tag) = hidden {
        return Err(Unknown::Tag { device: device.to_string(), tag: tag.clone() }.into());
    }
    let ask = ReadLast { device_id: Arc::clone(device), tag_ids };
    let answer = router.ok_or_else(away)?.read_last.send(ask).await.map_err(|_| away())?;
    let mut tags = answer?;
    tags.retain(|last| last.device.get(last.reading.tag).is_some_and(|tag| passes(selection, &tag)));
    Ok(tags)
}

async fn now(
    target: &Target,
    tag_ids: Option<Vec<String>>,
    selection: Option<&Selection>,
) -> Result<Vec<LastTag>, ReadError> {
    let tags = match tag_ids {
        Some(ids) => indices(&target.tags, &ids, selection)?,
        None => (0..)
            .zip(target.tags.iter())
            .filter_map(|(index, tag)| passes(selection, &tag).then_some(index))
            .collect(),
    };
    if tags.is_empty() {
        return Ok(Vec::new());
    }
    let away = || ReadError::Away(format!("the actor of device {:?}", target.tags.device_id()));
    let answer = target.ports.get().ok_or_else(away)?.read.send(ReadTags(tags)).await.map_err(|_| away())?;
    Ok(answer?)
}

fn indices(tags: &DeviceTags, ids: &[String], selection: Option<&Selection>) -> Result<Vec<u32>, ReadError> {
    let missing: Vec<_> = ids.iter().filter(|id| !reaches(selection, tags, id)).cloned().collect();
    if missing.is_empty() {
        return Ok(ids.iter().filter_map(|id| tags.index_of(id)).collect());
    }
    Err(ReadError::UnknownTags { device: Arc::clone(tags.device_id()), tags: missing })
}
