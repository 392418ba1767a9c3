//! Three NATS servers that hold streams together.

use std::fmt::Write as _;

use nats::{ConnectOptions, jetstream};

use super::{
    nats::{NatsServer, Version, block_on, client, streams},
    ports,
};
use crate::harness::{until, until_true};

/// Three servers on ports of loopback.
pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts them, and waits until they have agreed on one that leads.
    #[track_caller]
    pub(crate) fn start(version: Version) -> Self {
        let routes: [u16; 3] = std::array::from_fn(|_| ports::free());
        let servers = routes.iter().enumerate().map(|(n, own)| {
            NatsServer::configured(version, &format!("n{}", n + 1), ports::free(), |_| cluster(*own, &routes))
        });
        let mut cluster = Self { servers: servers.collect() };
        cluster.servers.iter_mut().for_each(NatsServer::begin);
        let ports: Vec<_> = cluster.servers.iter().map(|server| server.port).collect();
        until_true("three servers listening", || ports.iter().all(|port| super::mosquitto::listens(*port)));
        let jetstream = cluster.jetstream();
        until_true("a cluster with a leader", || block_on(jetstream.query_account()).is_ok());
        cluster
    }

    /// As a gateway's configuration names them.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(NatsServer::url).collect()
    }

    /// A client for streams, of whichever server lives.
    #[track_caller]
    pub(crate) fn jetstream(&self) -> jetstream::Context {
        streams(client(&self.urls(), ConnectOptions::new()))
    }

    /// The server that leads a stream, as soon as there is one.
    #[track_caller]
    pub(crate) fn leader(&mut self, stream: &str) -> &mut NatsServer {
        let jetstream = self.jetstream();
        let name = until("a stream's leader", || {
            let mut stream = block_on(jetstream.get_stream(stream)).ok()?;
            block_on(stream.info()).ok()?.cluster.as_ref()?.leader.clone()
        });
        self.servers.iter_mut().find(|server| server.name == name).expect("a server of this cluster leads")
    }
}

/// The part of a server's configuration that makes it one of three.
fn cluster(own: u16, routes: &[u16]) -> String {
    let mut config = format!("cluster {{\n  name: test\n  listen: \"127.0.0.1:{own}\"\n  routes: [\n");
    for route in routes {
        writeln!(config, "    \"nats://127.0.0.1:{route}\"").unwrap();
    }
    config + "  ]\n}\n"
}
