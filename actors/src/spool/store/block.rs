//! What one block holds and how it is written: messages with their strings told once, compressed, and an
//! index beside them that can be read without decompressing.

use std::{collections::HashMap, sync::Arc};

use bifrost_model::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use crate::broker::{Class, Kind, Outgoing};

/// zstd's level; the measurement is in `docs/decisions/0008-spool-store.md`.
const LEVEL: i32 = 1;

/// What is known of a block without reading its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) messages: u64,
    pub(super) values: u64,
    /// [`Ranges`], compressed.
    pub(super) ranges: Vec<u8>,
}

/// A block, ready to be written.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) index: Index,
    /// The messages, compressed.
    pub(super) payload: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    #[serde(borrow)]
    strings: Vec<&'a str>,
    rows: Vec<Row>,
}

/// A message; `topic`, `device` and `part` by their place among the strings, `made` by what lies between it
/// and the one before. Kinds and classes are written by their place in the type.
#[derive(Serialize, Deserialize)]
struct Row {
    topic: usize,
    device: usize,
    part: usize,
    kind: Kind,
    class: Class,
    retain: bool,
    historical: bool,
    seq: u64,
    values: u32,
    made: i64,
    payload: Bytes,
}

/// Strings in the order they first appeared.
#[derive(Default)]
struct Strings<'a> {
    places: HashMap<&'a str, usize>,
    list: Vec<&'a str>,
}

impl<'a> Strings<'a> {
    fn place(&mut self, text: &'a str) -> usize {
        *self.places.entry(text).or_insert_with(|| {
            self.list.push(text);
            self.list.len() - 1
        })
    }
}

impl Block {
    /// Fails with a reason when a message can't be written at all.
    pub(super) fn new(messages: &[Arc<Outgoing>]) -> Result<Self, String> {
        let packed = pack(messages).map_err(|error| error.to_string())?;
        Ok(Self { index: index(messages)?, payload: compress(&packed)? })
    }

    /// About the bytes that it takes in a segment.
    pub(super) fn bytes(&self) -> u64 {
        (self.payload.len() + self.index.ranges.len() + 64) as u64
    }
}

impl Index {
    /// What tells whether these columns are as they were written for this block.
    pub(super) fn checksum(&self, id: u64) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for number in [id, self.messages, self.values] {
            hasher.update(&number.to_le_bytes());
        }
        for time in [self.oldest, self.newest] {
            hasher.update(&time.as_micros().to_le_bytes());
        }
        hasher.update(&self.ranges);
        hasher.finalize()
    }

    /// Adds the scans of which it holds messages; `None` when they can't be read.
    pub(super) fn add_ranges(&self, to: &mut Ranges) -> Option<()> {
        to.add_bytes(&decompress(&self.ranges).ok()?)
    }
}

fn index(messages: &[Arc<Outgoing>]) -> Result<Index, String> {
    let made = || messages.iter().map(|message| message.made);
    let mut ranges = Ranges::new(usize::MAX);
    for message in messages.iter().filter(|message| message.seq > 0) {
        ranges.add(&message.device, message.seq, message.seq);
    }
    Ok(Index {
        oldest: made().min().unwrap_or_else(Timestamp::now),
        newest: made().max().unwrap_or_else(Timestamp::now),
        messages: messages.len() as u64,
        values: messages.iter().map(|message| u64::from(message.values)).sum(),
        ranges: compress(&ranges.to_bytes().map_err(|error| error.to_string())?)?,
    })
}

fn pack(messages: &[Arc<Outgoing>]) -> Result<Vec<u8>, postcard::Error> {
    let mut strings = Strings::default();
    let mut last = 0;
    let rows = messages.iter().map(|message| {
        let made = message.made.as_micros() - last;
        last = message.made.as_micros();
        Row {
            topic: strings.place(&message.topic),
            device: strings.place(&message.device),
            part: strings.place(&message.part),
            kind: message.kind,
            class: message.class,
            retain: message.retain,
            historical: message.historical,
            seq: message.seq,
            values: message.values,
            made,
            payload: message.payload.clone(),
        }
    });
    let rows = rows.collect();
    postcard::to_stdvec(&Packed { strings: strings.list, rows })
}

/// The messages of a payload that is as it was written.
pub(super) fn messages(payload: &[u8]) -> Result<Vec<Outgoing>, String> {
    let bytes = decompress(payload)?;
    let packed: Packed<'_> = postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
    let strings: Vec<Arc<str>> = packed.strings.into_iter().map(Arc::from).collect();
    let mut last = 0_i64;
    let rows = packed.rows.into_iter().map(|row| {
        last = last.checked_add(row.made)?;
        let text = |place: usize| strings.get(place).map(Arc::clone);
        Some(Outgoing {
            topic: text(row.topic)?,
            payload: row.payload,
            kind: row.kind,
            class: row.class,
            retain: row.retain,
            device: text(row.device)?,
            seq: row.seq,
            values: row.values,
            part: text(row.part)?,
            made: Timestamp::from_micros(last),
            historical: row.historical,
        })
    });
    rows.collect::<Option<_>>().ok_or_else(|| "its messages name strings that it doesn't hold".to_owned())
}

/// The length, then what zstd makes of it.
fn compress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let length = u32::try_from(bytes.len()).map_err(|_| "a block can't hold 4 GiB".to_owned())?;
    let body = zstd::bulk::compress(bytes, LEVEL).map_err(|error| error.to_string())?;
    Ok([&length.to_le_bytes()[..], &body].concat())
}

fn decompress(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let (length, body) = bytes.split_first_chunk().ok_or_else(|| "it is cut short".to_owned())?;
    let length = u32::from_le_bytes(*length) as usize;
    zstd::bulk::decompress(body, length).map_err(|error| error.to_string())
}
