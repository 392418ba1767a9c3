//! Checkpoints (C2SP `tlog-checkpoint`): how long a trail is and what its root is, signed.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bifrost_model::Timestamp;

use super::{
    merkle::{Frontier, Hash, Head},
    note::{NoteError, SigningKey, VerifierKey},
};

/// What a checkpoint says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which trail.
    pub origin: String,
    /// Its size and root.
    pub head: Head,
    /// When it was made.
    pub time: Timestamp,
    /// The tree at this point, so that it can go on from here without what came before.
    pub frontier: Frontier,
}

impl Checkpoint {
    /// Of a tree at this moment.
    pub fn of(origin: &str, frontier: &Frontier, time: Timestamp) -> Self {
        let head = Head { size: frontier.size(), root: frontier.root() };
        Self { origin: origin.to_owned(), head, time, frontier: frontier.clone() }
    }

    /// Its text: origin, size, root, and two extension lines, `time` and `frontier`.
    pub fn text(&self) -> String {
        let frontier: Vec<_> =
            self.frontier.roots().iter().map(|root| BASE64_STANDARD.encode(root)).collect();
        let Head { size, root } = self.head;
        let (root, time) = (BASE64_STANDARD.encode(root), self.time);
        format!("{}\n{size}\n{root}\ntime {time}\nfrontier {}\n", self.origin, frontier.join(","))
    }

    /// As a note that its key has signed.
    pub fn signed(&self, key: &SigningKey) -> Result<String, NoteError> {
        key.note(&self.text())
    }

    /// Out of a note that this key has signed.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(key.open(note)?)?;
        if checkpoint.origin == key.name() {
            Ok(checkpoint)
        } else {
            Err(NoteError::Malformed("its first line isn't the name of the key"))
        }
    }

    fn parse(text: &str) -> Result<Self, NoteError> {
        let malformed = |what| NoteError::Malformed(what);
        let mut lines = text.lines();
        let origin = lines.next().filter(|line| !line.is_empty()).ok_or(malformed("it has no origin"))?;
        let size = lines.next().and_then(|line| line.parse().ok()).ok_or(malformed("it has no size"))?;
        let root = lines.next().and_then(hash).ok_or(malformed("it has no root"))?;
        let mut found = |name: &str| lines.next()?.strip_prefix(name);
        let time = found("time ").and_then(|time| time.parse().ok()).ok_or(malformed("it has no time"))?;
        let roots = found("frontier").map(str::trim).ok_or(malformed("it has no frontier"))?;
        let roots: Option<Vec<_>> = roots.split(',').filter(|root| !root.is_empty()).map(hash).collect();
        let frontier = roots.and_then(|roots| Frontier::from_parts(size, roots));
        let frontier = frontier.filter(|frontier| frontier.root() == root);
        let frontier = frontier.ok_or(malformed("its frontier isn't that of its root"))?;
        Ok(Self { origin: origin.to_owned(), head: Head { size, root }, time, frontier })
    }
}

fn hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::leaf_hash;

    #[test]
    fn a_checkpoint_reads_as_it_was_written() {
        let key = SigningKey::generate("bifrost/gw-1/audit").unwrap();
        let mut frontier = Frontier::default();
        for n in 0..10u8 {
            let checkpoint = Checkpoint::of("bifrost/gw-1/audit", &frontier, Timestamp::from_micros(1));
            let note = checkpoint.signed(&key).unwrap();
            assert_eq!(Checkpoint::open(&note, key.verifier()).unwrap(), checkpoint);
            frontier.append(leaf_hash(&[n]));
        }
    }

    #[test]
    fn a_checkpoint_of_another_trail_or_with_another_frontier_is_refused() {
        let key = SigningKey::generate("a").unwrap();
        let mut frontier = Frontier::default();
        frontier.append(leaf_hash(b"x"));
        let checkpoint = Checkpoint::of("b", &frontier, Timestamp::from_micros(1));
        assert!(Checkpoint::open(&checkpoint.signed(&key).unwrap(), key.verifier()).is_err());
        let mut other = Checkpoint::of("a", &frontier, Timestamp::from_micros(1));
        other.head.root = leaf_hash(b"y");
        assert!(Checkpoint::open(&other.signed(&key).unwrap(), key.verifier()).is_err());
    }
}
