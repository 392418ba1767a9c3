//! The vocabulary of Bifrost: tags, values, quality, events, alarms and commands.
//!
//! Pure data: no I/O, no clock but the one a caller names, no knowledge of protocols, actors or HTTP.
//! What a peer sees of these types is fixed by their `Serialize` implementations, and only here.

mod batch;
mod command;
mod data_type;
mod event;
mod id;
mod quality;
mod tag;
mod timestamp;
mod value;

pub use batch::{Reading, TagBatch};
pub use command::{Command, CommandResult, CommandStatus};
pub use data_type::{DataType, UnknownDataType};
pub use event::{Alarm, AlarmState, Event, Severity};
pub use id::{BadId, MAX_ID_LEN, check_id};
pub use quality::{Quality, Reason};
pub use tag::{DeviceTags, Tag, TagClass, TagInfo};
pub use timestamp::Timestamp;
pub use value::{Value, ValueError};
