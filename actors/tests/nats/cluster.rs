//! Three servers, one of which fails.

use std::time::Duration;

use bifrost_actors::broker::Outcome;
use serde_json::{Value, json};

use super::{
    Gateway, in_universe,
    jetstream::{info, telemetry},
    scans,
    server::{Server, Version, cluster},
    settings, until,
};

const STREAM: &str = "BIFROST_plant-a";
const COUNT: u64 = 60_000;

/// The server that leads the stream.
async fn leader(context: &nats::jetstream::Context) -> usize {
    let info = info(context, STREAM).await;
    let name = info["cluster"]["leader"].as_str().unwrap_or_default();
    name.trim_start_matches('n').parse().unwrap_or_else(|_| panic!("no leader: {info}"))
}

/// Waits until each server knows a leader and all peers.
async fn until_ready(servers: &[Server]) {
    for server in servers {
        let client = nats::connect(server.url()).await.unwrap();
        until("the cluster has a leader", async || {
            let answer = client.request("$JS.API.INFO", "".into()).await;
            let info: Value =
                answer.map_or(Value::Null, |answer| serde_json::from_slice(&answer.payload).unwrap());
            info.is_object() && info.get("error").is_none()
        })
        .await;
    }
}

fn with_replicas(servers: &[Server], first: usize) -> Value {
    let urls: Vec<_> = (0..3).map(|n| servers[(first + n) % 3].url()).collect();
    json!({"servers": urls, "jetstream": {"enabled": true, "replicas": 3}, "ack_timeout": "10s"})
}

fn each_arrives_once_though_the_leader_is_killed(version: Version, the_gateway_is_connected_to_it: bool) {
    in_universe(async |universe| {
        let mut servers = cluster(version).await;
        until_ready(&servers).await;
        let config = settings(&with_replicas(&servers, 0));
        let gateway = Gateway::start(&universe, config).await;
        gateway.until_up().await;
        let context = nats::jetstream::new(nats::connect(servers[1].url()).await.unwrap());
        // The gateway is connected to the first: move the stream there, or away from there.
        until("the stream's leader is where it should be", async || {
            if (leader(&context).await == 0) == the_gateway_is_connected_to_it {
                return true;
            }
            let _ =
                context.client().request(format!("$JS.API.STREAM.LEADER.STEPDOWN.{STREAM}"), "".into()).await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            false
        })
        .await;
        let tickets = gateway.spool.send(scans(1, COUNT));
        until("some are settled", async || gateway.spool.settled() > 2000).await;
        let led = leader(&context).await;
        servers[led].kill();
        gateway.until_settled(usize::try_from(COUNT).unwrap()).await;
        for ticket in tickets {
            let outcome = gateway.spool.outcome(ticket);
            assert!(matches!(outcome, Some(Outcome::Delivered | Outcome::Duplicate)), "{outcome:?}");
        }
        let alive = servers.iter().position(Server::is_running).unwrap();
        let context = nats::jetstream::new(nats::connect(servers[alive].url()).await.unwrap());
        assert_eq!(telemetry(&context, STREAM).await, COUNT);
        let node = gateway.node().await;
        assert_eq!(node.restarts > 0, led == 0, "{node:?}");
    });
}

#[test]
fn with_the_leader_killed_each_message_arrives_once() {
    for version in Version::BOTH {
        each_arrives_once_though_the_leader_is_killed(version, false);
    }
}

#[test]
fn with_the_own_server_killed_the_next_carries_on_and_each_message_arrives_once() {
    for version in Version::BOTH {
        each_arrives_once_though_the_leader_is_killed(version, true);
    }
}
