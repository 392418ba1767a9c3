//! After a timeout no late reply is ever taken for another request's answer.

use std::time::Duration;

use bifrost_simulator::Fault;
use serde_json::{Value, json};

use crate::harness::{Plc, Recorder, Site, counting};

/// Two tags too far apart for one request, so that each reply fits the other's request in form.
fn device(protocol: &str, plc: &Plc) -> Value {
    json!({
        "id": "plc", "protocol": protocol, "address": plc.address(), "poll_interval": "40ms",
        "timeout": "60ms", "late_reply_wait": "150ms", "max_gap": 0, "retry_max": "50ms",
        "stale_after": "10s", "bad_after": "20s",
        "tags": [{"id": "1011", "address": "holding:11"}, {"id": "1033", "address": "holding:33"}]
    })
}

fn assert_never_mixed_up(protocol: &str, plc: &Plc) {
    // Later than the timeout, earlier than the next request's: the moment at which it could be mistaken.
    plc.set_fault(Some(Fault::LateReply { by: Duration::from_millis(85), every: 3 }));
    let quick = json!({"supervision": {"plc_link": {"initial_delay": "50ms", "max_delay": "100ms", "parked_retry": "100ms"}}});
    let gateway = Site::with(&quick, &json!([device(protocol, plc)])).start();
    let feed = Recorder::start(gateway.feed(json!({})));
    feed.await_frames(60, |frame| frame["tag"]["quality"] == "GOOD");
    // On demand too, beside the scans.
    for _ in 0..30 {
        for (address, value) in [("holding:11", 1011), ("holding:33", 1033)] {
            let ask = json!({"device_id": "plc", "tag_address": address});
            let answer = gateway.post("/api/tags/read", &ask);
            let read = &answer.body["tags"][0];
            if answer.status == 200 && read["quality"] == "GOOD" {
                assert_eq!(read["value"], value, "{address}");
            }
        }
    }
    let heard = feed.so_far();
    let values = heard.iter().filter(|frame| !frame["tag"]["value"].is_null());
    for tag in values.map(|frame| &frame["tag"]) {
        assert_eq!(tag["id"], tag["value"].to_string(), "{tag}");
    }
    let failed = gateway.stats("plc")["requests_failed"].as_u64().unwrap();
    assert!(failed >= 10, "{failed} requests failed: too few late replies to prove anything");
}

#[test]
fn over_tcp_a_late_reply_is_nobodys_answer() {
    assert_never_mixed_up("modbus-tcp", &Plc::counting());
}

#[test]
fn over_rtu_a_late_reply_is_nobodys_answer() {
    assert_never_mixed_up("modbus-rtu", &Plc::rtu_over_tcp(counting()));
}
