//! What waits for one client: every update while it keeps up, the newest per tag when it doesn't.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use bifrost_model::{Tag, TagBatch};

use crate::router::{LastTag, News};

/// One tag's update, without a copy of its scan.
#[derive(Debug, Clone)]
pub(super) enum Update {
    /// A reading of a scan, by position.
    Scan(Arc<TagBatch>, usize),
    /// A last known value, by position.
    Last(Arc<Vec<LastTag>>, usize),
}

impl Update {
    pub(super) fn tag(&self) -> Option<Tag<'_>> {
        match self {
            Self::Scan(batch, index) => batch.readings.get(*index).and_then(|reading| batch.tag(reading)),
            Self::Last(tags, index) => tags.get(*index).and_then(LastTag::tag),
        }
    }

    /// Equal for updates of the same tag.
    fn key(&self) -> Option<(usize, u32)> {
        let (device, tag) = match self {
            Self::Scan(batch, index) => (&batch.device, batch.readings.get(*index)?.tag),
            Self::Last(tags, index) => tags.get(*index).map(|last| (&last.device, last.reading.tag))?,
        };
        Some((Arc::as_ptr(device) as usize, tag))
    }
}

/// Bounded by the number of tags that a client sees, or by the setting where that is more.
#[derive(Debug)]
pub(super) struct Backlog {
    updates: VecDeque<Update>,
    news: VecDeque<News>,
    bound: usize,
    /// At this length updates are thinned out.
    thin_at: usize,
    skipped: u64,
}

impl Backlog {
    pub(super) fn new(bound: usize) -> Self {
        Self { updates: VecDeque::new(), news: VecDeque::new(), bound, thin_at: bound, skipped: 0 }
    }

    pub(super) fn push(&mut self, update: Update) {
        self.updates.push_back(update);
        if self.updates.len() > self.thin_at {
            self.skipped += self.thin_out();
            self.thin_at = self.bound.max(self.updates.len() * 2);
        }
    }

    pub(super) fn push_news(&mut self, news: News) {
        if self.news.len() >= self.bound {
            self.news.pop_front();
            self.skipped += 1;
        }
        self.news.push_back(news);
    }

    pub(super) fn count_skipped(&mut self, count: u64) {
        self.skipped += count;
    }

    /// Keeps the newest update of each tag, in order; answers how many went.
    pub(super) fn thin_out(&mut self) -> u64 {
        let before = self.updates.len();
        let mut seen = HashSet::with_capacity(before);
        let mut kept = VecDeque::with_capacity(before);
        while let Some(update) = self.updates.pop_back() {
            if update.key().is_some_and(|key| seen.insert(key)) {
                kept.push_front(update);
            }
        }
        kept.shrink_to_fit();
        self.updates = kept;
        (before - self.updates.len()) as u64
    }

    pub(super) fn take_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    pub(super) fn take_update(&mut self) -> Option<Update> {
        let update = self.updates.pop_front();
        if self.updates.is_empty() {
            self.thin_at = self.bound;
        }
        update
    }

    /// The update that comes next, to see whether it is of the same device.
    pub(super) fn next_update(&self) -> Option<&Update> {
        self.updates.front()
    }

    /// How many updates were left out since this was last asked.
    pub(super) fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }

    pub(super) fn len(&self) -> usize {
        self.updates.len() + self.news.len()
    }

    pub(super) fn clear_updates(&mut self) {
        self.updates.clear();
        self.thin_at = self.bound;
    }
}

#[cfg(test)]
mod tests {
    use bifrost_model::{
        DataType, DeviceTags, Quality, Reading, Reason, TagClass, TagInfo, Timestamp, Value,
    };

    use super::*;

    fn device(tags: u32) -> Arc<DeviceTags> {
        let ids: Vec<_> = (0..tags).map(|n| n.to_string()).collect();
        let infos = ids.iter().map(|id| TagInfo {
            id,
            name: "",
            address: "",
            data_type: DataType::Uint16,
            unit: "",
            description: "",
            writable: false,
            class: TagClass::Telemetry,
        });
        Arc::new(DeviceTags::new("press-1", "default", infos))
    }

    fn scan(device: &Arc<DeviceTags>, seq: u64) -> Arc<TagBatch> {
        let reading =
            |tag| Reading { tag, quality: Quality::Good, reason: Reason::None, value: Value::Uint(seq) };
        let readings = (0..u32::try_from(device.len()).unwrap()).map(reading).collect();
        Arc::new(TagBatch { device: Arc::clone(device), seq, timestamp: Timestamp::from_micros(0), readings })
    }

    fn fill(backlog: &mut Backlog, device: &Arc<DeviceTags>, scans: u64) {
        for seq in 1..=scans {
            let batch = scan(device, seq);
            for index in 0..batch.readings.len() {
                backlog.push(Update::Scan(Arc::clone(&batch), index));
            }
        }
    }

    #[test]
    fn a_client_that_keeps_up_gets_every_update() {
        let (mut backlog, device) = (Backlog::new(100), device(10));
        fill(&mut backlog, &device, 10);
        assert_eq!((backlog.len(), backlog.take_skipped()), (100, 0));
    }

    #[test]
    fn a_client_that_does_not_gets_the_newest_of_each_tag_and_the_number_it_missed() {
        let (mut backlog, device) = (Backlog::new(100), device(10));
        fill(&mut backlog, &device, 1000);
        let mut newest = std::collections::HashMap::new();
        let mut got = 0;
        while let Some(update) = backlog.take_update() {
            let tag = update.tag().unwrap();
            newest.insert(tag.id.to_owned(), tag.seq);
            got += 1;
        }
        assert!(newest.len() == 10 && newest.values().all(|seq| *seq == Some(1000)), "{newest:?}");
        assert_eq!(got + backlog.take_skipped(), 10_000);
    }

    #[test]
    fn what_waits_is_bounded_even_when_a_client_sees_more_tags_than_the_bound() {
        let (mut backlog, device) = (Backlog::new(10), device(50));
        fill(&mut backlog, &device, 1000);
        assert!(backlog.len() <= 101, "{}", backlog.len());
    }

    #[test]
    fn events_are_bounded_too_and_the_oldest_go() {
        let mut backlog = Backlog::new(3);
        for _ in 0..5 {
            backlog.push_news(News::Missed(1));
        }
        assert_eq!((backlog.len(), backlog.take_skipped()), (3, 2));
    }
}
