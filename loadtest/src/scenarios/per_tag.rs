//! One message per tag, acknowledged: as much as there is, beside what the client library alone reaches at
//! the same broker.
//!
//! First the client alone, then the gateway, then the client alone again with messages of the gateway's size;
//! the ratio is to the mean of both. The gateway has a little more to send than the client alone has reached,
//! and room in memory for what it doesn't get rid of, so that neither a lack of values nor the disk decides.

use std::{thread::sleep, time::Duration};

use serde_json::json;

use super::{
    brokers::{count, mqtt},
    many::{TAGS, devices},
};
use crate::{
    bench::Bench,
    error::LoadError,
    harness::{ALONE, Audience, Broker, Gateway, Paho, Plant, Streams, Usage, plc},
    report::{Report, Target},
};

const POLL: &str = "100ms";
/// Values that one device has per second.
const PER_DEVICE: f64 = 1000.0;
/// As long as a tag's message usually is.
const LENGTH: usize = 250;
/// The gateway's stream.
const STREAM: &str = "LOAD";

/// What was delivered.
#[derive(Debug, Clone, Copy)]
struct Rate {
    messages: f64,
    /// Of one, whatever the count includes of its envelope.
    bytes: f64,
}

impl Rate {
    fn of(messages: u64, bytes: u64, seconds: f64) -> Self {
        Self { messages: count(messages) / seconds, bytes: count(bytes) / count(messages) }
    }
}

/// To mosquitto, at `QoS` 1, with a subscriber.
pub(super) fn to_mqtt(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("mqtt-per-tag: QoS 1, beside paho alone");
    let broker = Broker::mosquitto()?;
    let alone = |length| {
        let audience = Audience::at(broker.port)?;
        let paho = Paho::start(broker.port, length)?;
        sleep(settling(bench));
        let (heard, seconds) = audience.count_for(bench.window());
        paho.stop()?;
        Ok(Rate::of(heard.messages, heard.bytes, seconds))
    };
    let topics = json!({ "telemetry": "bifrost/telemetry/{site_id}/{device_id}/{tag_name}" });
    let messaging = mqtt(broker.port, &json!({ "topics": topics, "spool": roomy() }));
    let through = |devices: u16| {
        let audience = Audience::at(broker.port)?;
        through_the_gateway(bench, devices, &messaging, || {
            let (heard, seconds) = audience.count_for(bench.window());
            Ok(Rate::of(heard.messages, heard.bytes, seconds))
        })
    };
    compare("mqtt-per-tag", "paho", alone, through, report)
}

/// To `JetStream` with file storage; what counts is what the server has stored.
pub(super) fn to_nats(bench: &Bench, report: &mut Report) -> Result<(), LoadError> {
    eprintln!("nats-per-tag: JetStream, file storage, beside async-nats alone");
    let broker = Broker::nats()?;
    let streams = Streams::at(broker.port)?;
    let stored = |stream| {
        let before = streams.state(stream)?;
        let begin = std::time::Instant::now();
        sleep(bench.window());
        let after = streams.state(stream)?;
        let seconds = begin.elapsed().as_secs_f64();
        Ok(Rate::of(after.messages - before.messages, after.bytes - before.bytes, seconds))
    };
    let alone = |length| {
        let client = streams.publish_alone(length)?;
        sleep(settling(bench));
        let rate = stored(ALONE)?;
        client.stop().map(|()| rate)
    };
    let messaging = json!({ "nats": {
        "servers": [format!("nats://127.0.0.1:{}", broker.port)],
        "subjects": { "telemetry": "bifrost.telemetry.{site_id}.{device_id}.{tag_name}" },
        "jetstream": { "enabled": true, "stream": STREAM, "storage": "file" },
        "spool": roomy(),
    }});
    let through = |devices: u16| {
        let rate = through_the_gateway(bench, devices, &messaging, || stored(STREAM))?;
        streams.delete(STREAM).map(|()| rate)
    };
    compare("nats-per-tag", "async-nats", alone, through, report)
}

/// Room for everything that may be left over within a run.
fn roomy() -> serde_json::Value {
    json!({ "max_memory": "1GiB", "stall_after": "10m" })
}

fn settling(bench: &Bench) -> Duration {
    bench.warm_up() / 2
}

/// What a gateway delivers, and its CPU time per 1,000 messages in ms.
fn through_the_gateway(
    bench: &Bench,
    count: u16,
    messaging: &serde_json::Value,
    measure: impl FnOnce() -> Result<Rate, LoadError>,
) -> Result<(Rate, f64), LoadError> {
    let plant = Plant::start(bench, vec![plc("plc", count, TAGS, None)], 0, None)?;
    let devices: Vec<_> = devices(&plant, count).collect();
    let mut gateway = Gateway::publishing(bench, &devices, TAGS, POLL, messaging)?;
    gateway.connected(count)?;
    sleep(settling(bench));
    let before = gateway.usage()?;
    let rate = measure()?;
    let cpu = |usage: Usage| usage.cpu;
    let spent = cpu(gateway.usage()?) - cpu(before);
    Ok((rate, spent / (rate.messages * bench.window().as_secs_f64()) * 1e6))
}

fn compare(
    name: &'static str,
    client: &str,
    alone: impl Fn(usize) -> Result<Rate, LoadError>,
    through: impl Fn(u16) -> Result<(Rate, f64), LoadError>,
    report: &mut Report,
) -> Result<(), LoadError> {
    let first = alone(LENGTH)?;
    let devices = enough(first.messages);
    let (gateway, cpu) = through(devices)?;
    let second = alone(as_long(first, gateway))?;
    report.tell(name, &format!("{client} alone, before"), first.messages, "/s");
    report.tell(name, &format!("{client} alone, after"), second.messages, "/s");
    report.tell(name, "offered to the gateway", f64::from(devices) * PER_DEVICE, "/s");
    report.tell(name, "gateway", gateway.messages, "/s");
    report.tell(name, "bytes per message, gateway", gateway.bytes, "");
    report.tell(name, &format!("bytes per message, {client} after"), second.bytes, "");
    let ratio = gateway.messages * 2.0 / (first.messages + second.messages);
    report.judge(name, &format!("gateway / {client}"), (ratio, "x"), Target::AtLeast(0.7));
    report.tell(name, "CPU per 1,000 messages", cpu, "ms");
    Ok(())
}

/// Devices that have somewhat more to send than this.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn enough(rate: f64) -> u16 {
    (rate * 1.1 / PER_DEVICE).ceil().clamp(10.0, 200.0) as u16
}

/// The length of messages that are as long as the gateway's, both counted with the same envelope.
#[expect(clippy::cast_possible_truncation, reason = "clamped")]
fn as_long(alone: Rate, gateway: Rate) -> usize {
    let difference = (gateway.bytes - alone.bytes).clamp(-200.0, 2000.0);
    LENGTH.saturating_add_signed(difference.round() as isize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somewhat_more_is_offered_than_was_reached() {
        for (rate, devices) in [(0.0, 10), (50_500.0, 56), (1e9, 200)] {
            assert_eq!(enough(rate), devices);
        }
    }

    #[test]
    fn messages_of_both_are_of_one_size() {
        let rate = |bytes| Rate { messages: 1.0, bytes };
        assert_eq!(as_long(rate(300.0), rate(321.4)), 271);
        assert_eq!(as_long(rate(300.0), rate(f64::NAN)), 250);
    }
}
