//! The server around the protocol: many clients, bad clients, on and off.

use std::time::Duration;

use crate::support::{Client, PATIENCE, READ, ZERO, address, frame, plc, until};
use bifrost_simulator::{Endpoint, Listener, PlcSettings, Scenario, SimulatedPlc, Simulator};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn healthy() -> SimulatedPlc {
    plc(PlcSettings::default())
}

#[tokio::test]
async fn requests_in_one_packet_are_all_answered_in_their_order() {
    let plc = healthy();
    let mut client = Client::new(&plc).await;
    let requests: Vec<u8> = (0..500).flat_map(|transaction| frame(transaction, 1, READ)).collect();
    client.0.write_all(&requests).await.unwrap();
    for transaction in 0..500 {
        assert_eq!(client.receive().await, (transaction, 1, ZERO.to_vec()));
    }
    let stats = plc.stats();
    assert_eq!((stats.requests, stats.answers, stats.functions[&3]), (500, 500, 500));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn any_split_of_the_stream_gives_the_same_answers(
        pdus in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stream: Vec<u8> = pdus.iter().flat_map(|pdu| frame(7, 1, pdu)).chain(frame(8, 1, READ)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let answers = |cuts: &[usize]| runtime.block_on(answers(&stream, cuts, pdus.len() + 1));
        prop_assert_eq!(answers(&cuts), answers(&[0, stream.len()]));
    }
}

async fn answers(stream: &[u8], cuts: &[usize], count: usize) -> Vec<(u16, u8, Vec<u8>)> {
    let plc = healthy();
    let mut client = Client::new(&plc).await;
    for cut in cuts.windows(2) {
        client.0.write_all(&stream[cut[0]..cut[1]]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answers = Vec::new();
    while answers.len() < count {
        answers.push(client.receive().await);
    }
    answers
}

#[tokio::test]
async fn a_frame_of_another_protocol_is_skipped_and_an_impossible_length_ends_the_connection() {
    let plc = healthy();
    let mut client = Client::new(&plc).await;
    client.0.write_all(&[0, 1, 0, 9, 0, 2, 1, 3]).await.unwrap();
    assert_eq!(client.ask(2, 1, READ).await, ZERO);
    client.0.write_all(&[0, 3, 0, 0, 0xFF, 0xFF, 1, 3]).await.unwrap();
    assert!(client.bytes().await.is_empty());
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_delays_nobody() {
    let plc = healthy();
    let mut rude = Client::new(&plc).await;
    let requests = frame(1, 1, &[3, 0, 0, 0, 100]).repeat(1000);
    let flood = async { while rude.0.write_all(&requests).await.is_ok() {} };
    assert!(timeout(Duration::from_millis(500), flood).await.is_err(), "the connection broke");
    assert_eq!(Client::new(&plc).await.ask(1, 1, READ).await, ZERO);
    timeout(PATIENCE, plc.stop()).await.expect("a client that doesn't read can't keep the PLC from stopping");
}

#[tokio::test]
async fn one_connection_too_many_is_closed_until_another_ends() {
    let plc = plc(PlcSettings { max_connections: Some(2), ..PlcSettings::default() });
    let mut first = Client::new(&plc).await;
    let mut second = Client::new(&plc).await;
    assert_eq!(first.ask(1, 1, READ).await, ZERO);
    assert_eq!(second.ask(1, 1, READ).await, ZERO);
    assert!(Client::new(&plc).await.bytes().await.is_empty());
    assert_eq!(plc.stats().connections_refused, 1);
    drop(first);
    until(|| async { plc.stats().connections_open == 1 }).await;
    assert_eq!(Client::new(&plc).await.ask(1, 1, READ).await, ZERO);
    assert_eq!(second.ask(2, 1, READ).await, ZERO);
}

#[tokio::test]
async fn only_a_client_that_says_nothing_for_too_long_is_left() {
    let idle_timeout = Some(Duration::from_millis(400));
    let plc = plc(PlcSettings { idle_timeout, ..PlcSettings::default() });
    let mut silent = Client::new(&plc).await;
    let mut busy = Client::new(&plc).await;
    let mut asked = 0;
    while timeout(Duration::from_millis(20), silent.0.read_u8()).await.is_err() {
        asked += 1;
        assert_eq!(busy.ask(asked, 1, READ).await, ZERO);
    }
    assert_eq!(busy.ask(0, 1, READ).await, ZERO);
    assert!(asked > 2);
}

#[tokio::test]
async fn a_plc_is_switched_off_and_on_again_on_the_same_port_with_its_memory() {
    let plc = healthy();
    let before = address(&plc);
    for round in 1..=3 {
        let mut client = Client::new(&plc).await;
        client.ask(1, 1, &[6, 0, 5, 0, round]).await;
        plc.stop().await;
        assert!(!plc.is_running());
        assert!(client.bytes().await.is_empty());
        assert!(TcpStream::connect(before).await.is_err());
        assert_eq!(plc.stats().connections_open, 0);
        plc.start().unwrap();
        plc.start().unwrap();
        assert_eq!(Client::new(&plc).await.ask(2, 1, &[3, 0, 5, 0, 1]).await, [3, 2, 0, round]);
    }
    assert_eq!(address(&plc), before);
}

#[tokio::test]
async fn dropping_a_plc_ends_it() {
    let plc = healthy();
    let address = address(&plc);
    let mut client = Client::new(&plc).await;
    assert_eq!(client.ask(1, 1, READ).await, ZERO);
    drop(plc);
    assert!(client.bytes().await.is_empty());
    until(|| async { TcpStream::connect(address).await.is_err() }).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_with_name_and_address() {
    let plc = healthy();
    let taken = Endpoint::Tcp(address(&plc));
    let settings = PlcSettings::named("press-2");
    let error =
        Simulator::start(vec![Listener { endpoint: taken.clone(), settings }]).unwrap_err().to_string();
    assert!(error.contains("press-2") && error.contains(&taken.to_string()), "{error}");
}

#[tokio::test]
async fn settings_without_sense_are_invalid_input() {
    let settings = PlcSettings { unit_ids: vec![], ..PlcSettings::default() };
    let error = SimulatedPlc::bind(([127, 0, 0, 1], 0).into(), settings).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn two_hundred_devices_answer_in_one_process() {
    let listeners = Scenario::uniform(200, 200).listeners([127, 0, 0, 1].into(), None).unwrap();
    let simulator = Simulator::start(listeners).unwrap();
    let mut clients = Vec::new();
    for plc in simulator.plcs() {
        let mut client = Client::new(plc).await;
        client.send(1, 1, &[3, 0, 0, 0, 100]).await;
        clients.push(client);
    }
    for client in &mut clients {
        let (_, _, pdu) = client.receive().await;
        assert_eq!(pdu[..2], [3, 200]);
    }
    assert_eq!(clients.len(), 200);
    assert!(simulator.plc("plc-200").is_some_and(|plc| plc.stats().requests == 1));
    simulator.stop().await;
    for client in &mut clients {
        assert!(client.bytes().await.is_empty());
    }
}
