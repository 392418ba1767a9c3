//! What is measured, one file per question. Each starts its own processes and leaves none behind.

mod brokers;
mod change;
mod faults;
mod many;
mod per_tag;
mod replay;
mod secure;
mod sequential;
mod start;
mod write;

use clap::ValueEnum;

use crate::{bench::Bench, error::LoadError, report::Report};

/// A question to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// How fast is one connection, read after read, beside libmodbus?
    Sequential,
    /// What do 100 devices with 100 tags at 100 ms take?
    ManyFast,
    /// What do 1,000 devices with 100 tags at 1 s take, and are scans on time?
    ManySlow,
    /// What do 100 devices with 1,000 tags at 1 s take, and are scans on time?
    WideSlow,
    /// What do 100 devices with 1,000 tags at 100 ms take: a million values per second?
    WideFast,
    /// How long does a write take under either load?
    Write,
    /// Do three broken devices harm the other 97?
    Faults,
    /// How soon do the reachable half of 1,000 devices deliver?
    Start,
    /// What do 100 devices with 100 tags at 100 ms take that publish to mosquitto?
    MqttDevice,
    /// What do 100 devices with 1,000 tags at 1 s take, and how soon do values arrive?
    MqttWide,
    /// Does a million values per second arrive?
    MqttWideFast,
    /// How many messages of one tag each, beside paho alone?
    MqttPerTag,
    /// How many of them to JetStream, beside async-nats alone?
    NatsPerTag,
    /// How soon does a change in a PLC reach a subscriber?
    ChangeLatency,
    /// How fast is a backlog delivered after an outage?
    Replay,
    /// What do handshakes and requests over TLS take, beside plain ones?
    Tls,
    /// What does it take that each write is on record?
    Audit,
}

/// Measures what is asked for; everything when nothing is named.
pub(crate) fn run(only: &[Scenario], bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    let wanted = |scenario| only.is_empty() || only.contains(&scenario);
    if wanted(Scenario::Sequential) {
        sequential::run(bench, report)?;
    }
    let writes = wanted(Scenario::Write);
    for (scenario, load) in [(Scenario::ManyFast, &many::FAST), (Scenario::ManySlow, &many::SLOW)] {
        if wanted(scenario) || writes {
            many::run(load, wanted(scenario), writes, bench, report)?;
        }
    }
    for (scenario, load) in [(Scenario::WideSlow, &many::WIDE_SLOW), (Scenario::WideFast, &many::WIDE_FAST)] {
        if wanted(scenario) {
            many::run(load, true, false, bench, report)?;
        }
    }
    if wanted(Scenario::Faults) {
        faults::run(bench, report)?;
    }
    if wanted(Scenario::Start) {
        start::run(bench, report)?;
    }
    publish(wanted, bench, report)
}

/// Measures one question.
type Run = fn(&Bench, &mut Report) -> Result<(), LoadError>;

/// The questions that need brokers, and those of security.
fn publish(wanted: impl Fn(Scenario) -> bool, bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    let loads = [
        (Scenario::MqttDevice, &brokers::NARROW),
        (Scenario::MqttWide, &brokers::WIDE),
        (Scenario::MqttWideFast, &brokers::WIDE_FAST),
    ];
    for (_, load) in loads.into_iter().filter(|(scenario, _)| wanted(*scenario)) {
        brokers::run(load, bench, report)?;
    }
    let others: [(_, Run); 6] = [
        (Scenario::MqttPerTag, per_tag::to_mqtt),
        (Scenario::NatsPerTag, per_tag::to_nats),
        (Scenario::ChangeLatency, change::run),
        (Scenario::Replay, replay::run),
        (Scenario::Tls, secure::tls),
        (Scenario::Audit, secure::audit),
    ];
    for (_, run) in others.into_iter().filter(|(scenario, _)| wanted(*scenario)) {
        run(bench, report)?;
    }
    Ok(())
}
