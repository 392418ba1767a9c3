//! The proof that one record is in a trail: all that is needed to check it beside the public key.

use std::{fs, path::Path};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    checkpoint::Checkpoint,
    folder::{notes, segments},
    merkle::{Frontier, Hash, leaf_hash, node_hash, root_by_inclusion},
    note::{NoteError, VerifierKey},
    record::{LineError, Record},
    trail::{TrailError, at},
};

/// A record, its way to the root, and the checkpoint that has signed that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// The record's number.
    pub seq: u64,
    /// Its line, as it stands in the trail.
    pub record: String,
    /// The hashes beside its way to the root, in base64, the lowest first.
    pub hashes: Vec<String>,
    /// The checkpoint, as a note.
    pub checkpoint: String,
}

/// Why there is no proof, or why it proves nothing.
#[derive(Debug, Error)]
pub enum ProofError {
    /// The trail can't be read.
    #[error(transparent)]
    Trail(#[from] TrailError),
    /// The checkpoint isn't signed.
    #[error("the checkpoint: {0}")]
    Checkpoint(#[from] NoteError),
    /// There is no such record, any more or yet.
    #[error("record {seq} can't be proven: the trail has records {first} to {last} under a checkpoint")]
    OutOfReach {
        /// Asked for.
        seq: u64,
        /// The first that is there.
        first: u64,
        /// The last that is signed.
        last: u64,
    },
    /// The record isn't signed.
    #[error("the record isn't what was signed")]
    Record,
    /// The hashes don't lead to the root.
    #[error("the hashes don't lead from the record to the checkpoint's root")]
    Hashes,
}

/// Makes the proof of one record against the last checkpoint of the trail in this folder.
pub fn prove(folder: &Path, key: &VerifierKey, seq: u64) -> Result<Proof, ProofError> {
    let segments = segments(folder).map_err(at(folder))?;
    let (mut base, mut newest) = (None, None);
    let mut lines = Vec::new();
    for segment in &segments {
        let read = |file: &Path| fs::read_to_string(file).map_err(at(file));
        let text = read(&segment.checkpoints())?;
        for note in notes(&text).0 {
            let checkpoint = Checkpoint::open(note, key)?;
            base.get_or_insert_with(|| checkpoint.frontier.clone());
            newest = Some((checkpoint, note.to_owned()));
        }
        lines.extend(read(&segment.records())?.lines().map(str::to_owned));
    }
    let base = base.unwrap_or_default();
    let first = base.size();
    let size = newest.as_ref().map_or(0, |(newest, _)| newest.head.size);
    let out_of_reach = || ProofError::OutOfReach { seq, first, last: size.saturating_sub(1) };
    let (_, checkpoint) = newest.filter(|_| (first..size).contains(&seq)).ok_or_else(out_of_reach)?;
    let place = usize::try_from(seq - first).map_err(|_| out_of_reach())?;
    let record = lines.get(place).cloned().ok_or_else(out_of_reach)?;
    let leaves = lines.iter().map(|line| leaf_hash(line.as_bytes())).collect();
    let mut hashes = Vec::new();
    Tree { base, leaves }.path(0, size, seq, &mut hashes).ok_or_else(out_of_reach)?;
    Ok(Proof {
        seq,
        record,
        hashes: hashes.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect(),
        checkpoint,
    })
}

/// A tree of which the leaves before some place are known by the roots of their perfect trees alone.
struct Tree {
    base: Frontier,
    leaves: Vec<Hash>,
}

impl Tree {
    /// The hashes beside the way to a leaf within these, the lowest first.
    fn path(&self, from: u64, to: u64, seq: u64, hashes: &mut Vec<Hash>) -> Option<()> {
        if to - from == 1 {
            return Some(());
        }
        let middle = from + split(to - from);
        let beside = if seq < middle {
            self.path(from, middle, seq, hashes)?;
            self.root(middle, to)?
        } else {
            self.path(middle, to, seq, hashes)?;
            self.root(from, middle)?
        };
        hashes.push(beside);
        Some(())
    }

    fn root(&self, from: u64, to: u64) -> Option<Hash> {
        if let Some(known) = self.known(from, to) {
            return Some(known);
        }
        if to - from == 1 {
            return self.leaves.get(usize::try_from(from.checked_sub(self.base.size())?).ok()?).copied();
        }
        let middle = from + split(to - from);
        Some(node_hash(&self.root(from, middle)?, &self.root(middle, to)?))
    }

    /// The root of exactly these leaves, if it is one of the perfect trees before the first leaf.
    fn known(&self, from: u64, to: u64) -> Option<Hash> {
        let (mut begin, mut roots) = (0, self.base.roots().iter());
        for bit in (0..u64::BITS).rev().map(|bit| 1u64 << bit).filter(|bit| self.base.size() & bit != 0) {
            let root = roots.next()?;
            if (begin, begin + bit) == (from, to) {
                return Some(*root);
            }
            begin += bit;
        }
        None
    }
}

/// The largest power of two below.
fn split(size: u64) -> u64 {
    size.next_power_of_two() / 2
}

impl Proof {
    /// The record and the checkpoint that vouches for it, if the proof holds.
    pub fn check(&self, key: &VerifierKey) -> Result<(Record, Checkpoint), ProofError> {
        let checkpoint = Checkpoint::open(&self.checkpoint, key)?;
        let record = Record::open(&self.record, key).map_err(|_: LineError| ProofError::Record)?;
        let hash = |text: &String| BASE64_STANDARD.decode(text).ok()?.try_into().ok();
        let hashes: Option<Vec<Hash>> = self.hashes.iter().map(hash).collect();
        let leaf = leaf_hash(self.record.as_bytes());
        let root = hashes.and_then(|hashes| root_by_inclusion(leaf, self.seq, checkpoint.head.size, &hashes));
        if root == Some(checkpoint.head.root) && record.seq == self.seq {
            Ok((record, checkpoint))
        } else {
            Err(ProofError::Hashes)
        }
    }
}
