//! Health, readiness, metrics, the index.

use serde_json::json;

use crate::bench::Bench;

#[test]
fn the_process_says_that_it_lives() {
    let bench = Bench::start();
    let health = bench.get("/health").ok();
    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(health["uptime_seconds"].is_u64());
}

#[test]
fn readiness_names_what_is_waited_for() {
    let bench = Bench::start();
    bench.readiness.waits_for("configuration", "the configuration isn't applied yet");
    let answer = bench.get("/readiness");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json(), json!({"ready": false, "reasons": ["the configuration isn't applied yet"]}));
    assert_eq!(bench.get("/health").status, 200);
    bench.readiness.done("configuration");
    assert_eq!(bench.get("/readiness").ok(), json!({"ready": true}));
}

#[test]
fn metrics_are_prometheus_text() {
    let bench = Bench::start();
    bench.until_online("press-1");
    let answer = bench.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    for name in ["bifrost_device_connected", "bifrost_tag_reads_total", "bifrost_response_time_seconds_count"]
    {
        assert!(answer.body.lines().any(|line| line.starts_with(name)), "{name} isn't in {}", answer.body);
    }
}

#[test]
fn the_index_leads_to_what_there_is() {
    let bench = Bench::start();
    let index = bench.get("/").ok();
    for key in ["description", "devices", "actors", "events", "alarms", "health", "readiness", "metrics"] {
        assert_eq!(bench.get(index[key].as_str().unwrap()).status, 200, "{key}");
    }
}
