//! How much is kept, by session: known in memory, so that bounds and alarms need no query.

use std::{collections::BTreeMap, sync::Arc};

use super::settings::DeadLetterSettings;

/// How much is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stock {
    sessions: BTreeMap<Arc<str>, u64>,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

impl Stock {
    pub(super) fn add(&mut self, session: &str, messages: u64, bytes: u64) {
        self.messages += messages;
        self.bytes += bytes;
        match self.sessions.get_mut(session) {
            Some(count) => *count += messages,
            None => drop(self.sessions.insert(session.into(), messages)),
        }
    }

    pub(super) fn take(&mut self, session: &str, bytes: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(count) = self.sessions.get_mut(session) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.sessions.remove(session);
            }
        }
    }

    pub(super) fn is_over(&self, settings: &DeadLetterSettings) -> bool {
        self.messages > settings.max_messages as u64 || self.bytes > settings.max_bytes.0
    }

    /// Sessions with letters, and how many.
    pub(super) fn sessions(&self) -> &BTreeMap<Arc<str>, u64> {
        &self.sessions
    }

    pub(super) fn of(&self, session: Option<&str>) -> u64 {
        session.map_or(self.messages, |session| self.sessions.get(session).copied().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ByteSize;

    #[test]
    fn a_session_without_letters_is_none() {
        let mut stock = Stock::default();
        stock.add("a", 2, 100);
        stock.add("b", 1, 10);
        stock.take("b", 10);
        assert_eq!((stock.messages, stock.bytes, stock.sessions().len()), (2, 100, 1));
        assert_eq!((stock.of(Some("a")), stock.of(Some("b")), stock.of(None)), (2, 0, 2));
    }

    #[test]
    fn both_bounds_hold() {
        let settings = DeadLetterSettings { max_messages: 2, max_bytes: ByteSize(100) };
        for (messages, bytes, over) in [(2, 100, false), (3, 3, true), (1, 101, true)] {
            let mut stock = Stock::default();
            stock.add("a", messages, bytes);
            assert_eq!(stock.is_over(&settings), over, "{messages} {bytes}");
        }
    }
}
