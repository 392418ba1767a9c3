//! A plant with one spool, and scans that a test publishes itself.

use std::{cell::Cell, path::Path, sync::Arc};

use bifrost_actors::{
    gateway::LimitSettings,
    spool::SpoolSettings,
    supervision::{OrderKind, SupervisionSettings},
    testing::{Plant, SpoolUnderTest, Universe, device_settings, until},
};
use bifrost_model::{DeviceTags, Quality, Reading, Reason, TagBatch, TagClass, Timestamp, Value};

use crate::{secs, settle};

/// Messages that fit into the spool's mailbox.
pub(crate) const MAILBOX: usize = 4096;

pub(crate) struct Bench {
    pub(crate) plant: Plant,
    pub(crate) spool: SpoolUnderTest,
    /// Its class is telemetry.
    pub(crate) press: Device,
    /// Its class is critical.
    pub(crate) boiler: Device,
}

/// A device with two tags, of which the second must not get lost: not registered.
pub(crate) fn mixer() -> Device {
    let mut settings = device_settings("mixer", secs(1), 2);
    settings.tags[1].class = TagClass::Critical;
    Device { tags: bifrost_actors::plc::compile(&settings).unwrap().tags, last: Cell::new(0) }
}

/// A device whose scans are made up.
pub(crate) struct Device {
    pub(crate) tags: Arc<DeviceTags>,
    last: Cell<u64>,
}

pub(crate) fn tags(id: &str, count: u16, class: TagClass) -> Arc<DeviceTags> {
    let mut settings = device_settings(id, secs(1), count);
    settings.tags.iter_mut().for_each(|tag| tag.class = class);
    bifrost_actors::plc::compile(&settings).unwrap().tags
}

impl Device {
    fn new(id: &str, class: TagClass) -> Self {
        Self { tags: tags(id, 1, class), last: Cell::new(0) }
    }

    /// Its next scan, read now, with as many values as it has tags.
    fn scan(&self, timestamp: Timestamp) -> TagBatch {
        let seq = self.last.get() + 1;
        self.last.set(seq);
        let reading = |tag: u32| {
            // Many digits that no compression takes away.
            let number =
                f64::from_bits((seq << 20 | u64::from(tag)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
            let value = Value::Float64(number);
            Reading { tag, quality: Quality::Good, reason: Reason::None, value }
        };
        let count = u32::try_from(self.tags.len()).unwrap();
        TagBatch {
            device: Arc::clone(&self.tags),
            seq,
            timestamp,
            readings: (0..count).map(reading).collect(),
        }
    }
}

impl Bench {
    pub(crate) async fn start(universe: &Universe, folder: &Path, settings: SpoolSettings) -> Self {
        Self::with_mailbox(universe, folder, settings, MAILBOX).await
    }

    async fn with_mailbox(
        universe: &Universe,
        folder: &Path,
        settings: SpoolSettings,
        mailbox: usize,
    ) -> Self {
        let plant = Plant::start(universe, folder, LimitSettings::default()).await;
        let spool = plant.spool_in(&folder.join("spool"), settings, mailbox).await;
        let (press, boiler) =
            (Device::new("press", TagClass::Telemetry), Device::new("boiler", TagClass::Critical));
        for device in [&press, &boiler] {
            plant.register(&device.tags).await;
        }
        settle().await;
        Self { plant, spool, press, boiler }
    }

    /// Publishes so many scans, and lets them arrive.
    pub(crate) async fn scans(&self, device: &Device, count: usize) {
        self.scans_of(device, count, Timestamp::now()).await;
    }

    /// The same, read at some time.
    pub(crate) async fn scans_of(&self, device: &Device, count: usize, at: Timestamp) {
        for _ in 0..count {
            assert!(self.plant.publish(device.scan(at)));
        }
        settle().await;
    }

    /// Publishes scans of so many tags each, and lets them arrive together.
    pub(crate) async fn scans_with(&self, device: &Device, tags: &[usize]) {
        for count in tags {
            let mut scan = device.scan(Timestamp::now());
            scan.readings.truncate(*count);
            assert!(self.plant.publish(scan));
        }
        settle().await;
    }

    /// From now on the press has so many tags.
    pub(crate) async fn enlarge_press(&mut self, count: u16) {
        self.press.tags = tags("press", count, TagClass::Telemetry);
        self.plant.register(&self.press.tags).await;
        settle().await;
    }

    /// Starts the spool again after a stop or a failure, and waits for it.
    pub(crate) async fn restart(&self) {
        self.plant.universe.order(&self.spool.path, OrderKind::Start).await.unwrap();
        self.until_spool().await;
    }

    pub(crate) async fn stop(&self) {
        self.plant.universe.order(&self.spool.path, OrderKind::Stop).await.unwrap();
    }

    /// Waits until an incarnation lives.
    pub(crate) async fn until_spool(&self) {
        until("a spool", || self.spool.ports().is_some_and(|ports| ports.attach.connected())).await;
        settle().await;
    }

    pub(crate) async fn on_disk(&self) -> u64 {
        self.spool.report().await.depth.disk_messages
    }
}

/// Runs a test with a bench of its own, and stops it in order at the end.
pub(crate) fn with_bench<F: Future<Output = ()>>(settings: SpoolSettings, test: impl FnOnce(Bench) -> F) {
    with_mailbox(settings, MAILBOX, test);
}

pub(crate) fn with_mailbox<F: Future<Output = ()>>(
    settings: SpoolSettings,
    mailbox: usize,
    test: impl FnOnce(Bench) -> F,
) {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), settings, mailbox, test);
}

/// The same in a folder that is given.
pub(crate) fn run_in<F: Future<Output = ()>>(
    folder: &Path,
    settings: SpoolSettings,
    test: impl FnOnce(Bench) -> F,
) {
    run(folder, settings, MAILBOX, test);
}

fn run<F: Future<Output = ()>>(
    folder: &Path,
    settings: SpoolSettings,
    mailbox: usize,
    test: impl FnOnce(Bench) -> F,
) {
    Universe::run(SupervisionSettings::default(), async |universe| {
        let bench = Bench::with_mailbox(&universe, folder, settings, mailbox).await;
        let plant = bench.plant.clone();
        test(bench).await;
        let _ = universe.order("spool", OrderKind::Stop).await;
        plant.stop().await;
    });
}

/// Lets go of everything at the end of the test, as when the process is killed.
pub(crate) fn crash_in<F: Future<Output = ()>>(
    folder: &Path,
    settings: SpoolSettings,
    test: impl FnOnce(Bench) -> F,
) {
    Universe::crash(SupervisionSettings::default(), async |universe| {
        test(Bench::start(&universe, folder, settings).await).await;
    });
}
