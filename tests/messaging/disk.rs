//! Disks that fill up or can't be written, and bounds that are reached: what is lost is counted and named, and
//! the rest of the gateway hardly notices.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::{Value, json};

use crate::{
    account::{assert_accounted, named},
    brokers::{Mosquitto, MqttWatcher, Network, TcpProxy},
    harness::{Gateway, Site, until, until_true},
    plant::{Plant, await_spool, cloud, is_scan, messaging},
};

/// A small disk in memory, where a spool is; gone with this value. Mounting is root's privilege.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let disk = Self(path);
        mount(&["-t", "tmpfs", "-o", "size=3m", "tmpfs"], &disk.0);
        disk
    }

    /// Leaves so many bytes.
    fn fill(&self, left: usize) {
        fs::write(self.0.join("other"), vec![1; (3 << 20) - left]).unwrap();
    }

    fn set(&self, option: &str) {
        mount(&["-o", &format!("remount,{option}")], &self.0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still has it open goes with the test.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[track_caller]
fn mount(args: &[&str], path: &Path) {
    let mounted = Command::new("mount").args(args).arg(path).output().expect("mount runs");
    assert!(mounted.status.success(), "{} (needs root)", String::from_utf8_lossy(&mounted.stderr));
}

struct Bench {
    gateway: Gateway,
    watcher: MqttWatcher,
    network: TcpProxy,
    plant: Plant,
    _broker: Mosquitto,
}

/// A plant of 20,000 values a second, a spool with these settings in which little is kept in memory, and a
/// network to the broker.
fn site(spool: &Value) -> (Arc<Site>, Plant, Mosquitto, TcpProxy) {
    let (broker, plant) = (Mosquitto::start(), Plant::noisy(10, 100, "50ms"));
    let network = TcpProxy::to(broker.port);
    let mut settings = json!({"stall_after": "500ms", "max_memory": "512KiB", "segment_bytes": "64KiB"});
    settings.as_object_mut().unwrap().extend(spool.as_object().unwrap().clone());
    let section = json!({"mqtt": cloud(network.port), "spool": settings});
    (Site::with(&messaging(&section), &plant.devices()), plant, broker, network)
}

impl Bench {
    /// Everything is there and messages flow.
    fn start((site, plant, broker, network): (Arc<Site>, Plant, Mosquitto, TcpProxy)) -> Self {
        let watcher = MqttWatcher::everything(broker.port);
        let gateway = site.start();
        watcher.await_messages(100, is_scan);
        Self { gateway, watcher, network, plant, _broker: broker }
    }

    fn alarms(&self, state: &str) -> BTreeSet<String> {
        let listed = self.gateway.json("/api/alarms");
        let of_state = listed["alarms"].as_array().unwrap().iter().filter(|alarm| alarm["state"] == state);
        of_state.map(|alarm| alarm["alarm_id"].as_str().unwrap().to_owned()).collect()
    }

    fn await_alarm(&self, id: &str, state: &str) {
        until_true(&format!("alarm {id} {state}"), || self.alarms(state).contains(id));
    }

    fn times_raised(&self, id: &str) -> usize {
        self.gateway.logged("alarm raised").iter().filter(|record| record["alarm"] == id).count()
    }

    /// All devices are read on, as if nothing were.
    #[track_caller]
    fn assert_polling(&self) {
        let before = self.plant.last_numbers(&self.gateway);
        until_true("ten more scans of each device", || {
            let now = self.plant.last_numbers(&self.gateway);
            now.iter().all(|(id, last)| *last >= before[id] + 10)
        });
        for id in self.plant.ids() {
            assert_eq!(self.gateway.stats(&id)["scans_failed"], 0, "{id}");
        }
    }
}

#[test]
fn a_disk_that_fills_up_costs_what_no_longer_fits_and_nothing_when_it_is_free_again() {
    let parts = site(&json!({}));
    let disk = SmallDisk::at(parts.0.data_dir().join("spool"));
    disk.fill(400 << 10);
    let bench = Bench::start(parts);
    bench.network.set(Network::Refusing);
    let full = await_spool(&bench.gateway, "a full disk and losses", |spool| {
        spool["disk_error"].is_string() && spool["dropped"]["messages"].as_u64() > Some(200)
    });
    assert!(full["disk_error"].as_str().unwrap().contains("is full; free space on it"), "{full:#}");
    assert!(full["depth"]["memory_bytes"].as_u64() < Some(1_200_000), "{full:#}");
    assert!(full["depth"]["disk_messages"].as_u64() > Some(200), "{full:#}");
    bench.await_alarm("spool_disk/cloud", "active");
    bench.await_alarm("spool_dropping/cloud", "active");
    bench.assert_polling();
    assert_eq!(bench.times_raised("spool_dropping/cloud"), 1);
    assert_eq!(bench.times_raised("spool_disk/cloud"), 1);

    bench.network.set(Network::Passing);
    await_spool(&bench.gateway, "live again", |spool| {
        spool["state"] == "live" && spool["disk_error"].is_null()
    });
    bench.await_alarm("spool_disk/cloud", "cleared");
    bench.await_alarm("spool_dropping/cloud", "cleared");
    assert_eq!(bench.times_raised("spool_dropping/cloud"), 1);
    let missing = assert_accounted(&bench.gateway, &bench.plant, &bench.watcher);
    assert!(missing > 0);
    drop(bench);
    drop(disk);
}

#[test]
fn a_spool_that_refuses_what_is_new_keeps_the_oldest_and_names_the_rest() {
    let bench = Bench::start(site(&json!({"max_bytes": "1MiB", "on_full": "refuse_new"})));
    let before = bench.plant.last_numbers(&bench.gateway);
    bench.network.set(Network::Refusing);
    let full =
        await_spool(&bench.gateway, "losses", |spool| spool["dropped"]["messages"].as_u64() > Some(200));
    assert!(full["dropped"]["last"]["reason"].as_str().unwrap().contains("refuses what is new"), "{full:#}");
    assert!(
        full["depth"]["disk_bytes"].as_u64() <= Some(1 << 20) && full["disk_error"].is_null(),
        "{full:#}"
    );
    bench.assert_polling();
    bench.await_alarm("spool_dropping/cloud", "active");
    assert_eq!(bench.times_raised("spool_dropping/cloud"), 1);
    bench.network.set(Network::Passing);
    await_spool(&bench.gateway, "live again", |spool| spool["state"] == "live");
    let missing = assert_accounted(&bench.gateway, &bench.plant, &bench.watcher);
    assert!(missing > 0);
    for (id, last) in before {
        let first = named(&bench.gateway, &id).into_iter().map(|range| range.0).min().unwrap_or(u64::MAX);
        assert!(first > last + 40, "{id}: {first} was lost, {last} came before the outage");
    }
}

#[test]
fn a_disk_that_is_read_only_is_told_and_used_as_soon_as_it_can_be_written() {
    let (site, plant, broker, _network) = site(&json!({}));
    let disk = SmallDisk::at(site.data_dir().join("spool"));
    let watcher = MqttWatcher::everything(broker.port);
    disk.set("ro");
    let gateway = site.start();
    let failed = until("a spool that can't begin", || {
        let actor = gateway.actor("brokers/cloud/spool");
        actor["last_error"].is_string().then_some(actor)
    });
    assert!(failed["last_error"].as_str().unwrap().contains("mount it read-write"), "{failed}");
    gateway.good_tags(&plant.ids()[0]);
    disk.set("rw");
    watcher.await_messages(100, is_scan);
    await_spool(&gateway, "live", |spool| spool["state"] == "live");
    drop(gateway);
    drop(disk);
}
