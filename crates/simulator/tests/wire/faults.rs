//! Each fault as a client on the wire sees it.

use std::time::Duration;

use crate::support::{Client, PATIENCE, READ, ZERO, address, frame, plc, until};
use bifrost_simulator::{AddressRange, Fault, PlcSettings, ScriptedFault, SimulatedPlc, Table};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout},
};

fn healthy() -> SimulatedPlc {
    plc(PlcSettings::default())
}

fn with(fault: Fault) -> SimulatedPlc {
    let plc = healthy();
    plc.set_fault(Some(fault));
    plc
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn refuses(plc: &SimulatedPlc) -> bool {
    TcpStream::connect(address(plc)).await.is_err()
}

#[tokio::test]
async fn silence_reads_and_never_answers() {
    let plc = with(Fault::Silence);
    let mut client = Client::new(&plc).await;
    client.send(1, 1, READ).await;
    assert!(client.hears_nothing().await);
    assert_eq!(plc.stats().requests, 1);
    plc.set_fault(None);
    assert_eq!(client.ask(2, 1, READ).await, ZERO);
}

#[tokio::test]
async fn a_slow_plc_takes_its_time_for_one_request_after_the_other() {
    let plc = with(Fault::Delay { by: ms(50) });
    let mut client = Client::new(&plc).await;
    let start = Instant::now();
    for transaction in 1..=3 {
        client.send(transaction, 1, READ).await;
    }
    for transaction in 1..=3 {
        assert_eq!(client.receive().await.0, transaction);
        assert!(start.elapsed() >= ms(50) * u32::from(transaction));
    }
}

#[tokio::test]
async fn a_late_reply_comes_after_the_answers_of_later_requests() {
    let plc = with(Fault::LateReply { by: ms(200), every: 3 });
    let mut client = Client::new(&plc).await;
    let start = Instant::now();
    for transaction in 1..=3 {
        client.send(transaction, 1, READ).await;
    }
    for transaction in [2, 3, 1] {
        assert_eq!(client.receive().await, (transaction, 1, ZERO.to_vec()));
    }
    assert!(start.elapsed() >= ms(200));
}

#[tokio::test]
async fn a_wrong_transaction_id_is_one_more() {
    let plc = with(Fault::WrongTransactionId);
    let mut client = Client::new(&plc).await;
    client.send(0xFFFF, 1, READ).await;
    assert_eq!(client.receive().await, (0, 1, ZERO.to_vec()));
}

#[tokio::test]
async fn a_wrong_unit_is_one_more() {
    let plc = with(Fault::WrongUnit);
    let mut client = Client::new(&plc).await;
    client.send(9, 1, READ).await;
    assert_eq!(client.receive().await, (9, 2, ZERO.to_vec()));
}

#[tokio::test]
async fn a_truncated_frame_promises_more_than_comes() {
    let plc = with(Fault::TruncatedFrame);
    let mut client = Client::new(&plc).await;
    client.send(9, 1, READ).await;
    assert_eq!(client.bytes().await, [0, 9, 0, 0, 0]);
    assert!(client.hears_nothing().await);
}

#[tokio::test]
async fn garbage_is_no_answer_and_never_the_same() {
    let plc = with(Fault::Garbage);
    let mut client = Client::new(&plc).await;
    let mut heard = Vec::new();
    for transaction in 1..=2 {
        client.send(transaction, 1, READ).await;
        let bytes = client.bytes().await;
        assert!((1..=64).contains(&bytes.len()));
        heard.push(bytes);
    }
    assert_ne!(heard[0], heard[1]);
}

#[tokio::test]
async fn an_exception_can_hit_a_range_and_spare_the_rest() {
    let range = Some(AddressRange { first: 10, last: 19 });
    let plc = with(Fault::Exception { code: 4, table: Some(Table::Holding), range });
    let mut client = Client::new(&plc).await;
    assert_eq!(client.ask(1, 1, &[3, 0, 5, 0, 6]).await, [0x83, 4]);
    assert_eq!(client.ask(2, 1, &[3, 0, 5, 0, 5]).await[..2], [3, 10]);
    assert_eq!(client.ask(3, 1, &[4, 0, 5, 0, 6]).await[..2], [4, 12]);
    assert_eq!(client.ask(4, 1, &[6, 0, 10, 0, 1]).await, [0x86, 4]);
}

#[tokio::test]
async fn half_open_reads_nothing_and_goes_on_where_it_was() {
    let plc = with(Fault::HalfOpen);
    let mut client = Client::new(&plc).await;
    client.send(1, 1, READ).await;
    assert!(client.hears_nothing().await);
    assert_eq!(plc.stats().requests, 0);
    plc.set_fault(None);
    assert_eq!(client.receive().await, (1, 1, ZERO.to_vec()));
}

#[tokio::test]
async fn half_open_lets_a_client_fill_the_buffers_and_no_more() {
    let plc = with(Fault::HalfOpen);
    let mut client = Client::new(&plc).await;
    let requests = frame(1, 1, READ).repeat(10_000);
    let flood = async { while client.0.write_all(&requests).await.is_ok() {} };
    assert!(timeout(ms(500), flood).await.is_err(), "the connection broke");
    assert_eq!(plc.stats().requests, 0);
}

#[tokio::test]
async fn refusing_closes_connections_and_the_port_until_it_is_over() {
    let plc = healthy();
    let mut client = Client::new(&plc).await;
    assert_eq!(client.ask(1, 1, READ).await, ZERO);
    plc.set_fault(Some(Fault::Refuse));
    assert!(client.bytes().await.is_empty());
    until(|| refuses(&plc)).await;
    plc.set_fault(None);
    until(|| async { !refuses(&plc).await }).await;
    assert_eq!(Client::new(&plc).await.ask(2, 1, READ).await, ZERO);
}

#[tokio::test]
async fn flapping_goes_away_and_returns_again_and_again() {
    let plc = with(Fault::Flapping { up: ms(300), down: ms(200) });
    for _ in 0..2 {
        until(|| async { !refuses(&plc).await }).await;
        until(|| refuses(&plc)).await;
    }
    until(|| async { !refuses(&plc).await }).await;
    let mut client = Client::new(&plc).await;
    assert!(client.bytes().await.is_empty(), "a connection outlived the time that the PLC was gone");
}

#[tokio::test]
async fn every_nth_request_closes_its_connection() {
    let plc = with(Fault::DropEvery { n: 3 });
    let mut client = Client::new(&plc).await;
    for transaction in 1..=2 {
        assert_eq!(client.ask(transaction, 1, READ).await, ZERO);
    }
    client.send(3, 1, READ).await;
    assert!(client.bytes().await.is_empty());
    assert_eq!(Client::new(&plc).await.ask(4, 1, READ).await, ZERO);
}

#[tokio::test]
async fn one_silent_unit_leaves_the_others_of_its_connection_alone() {
    let plc = plc(PlcSettings { unit_ids: vec![1, 2], ..PlcSettings::default() });
    plc.set_unit_fault(2, Some(Fault::Silence));
    let mut client = Client::new(&plc).await;
    client.send(1, 2, READ).await;
    assert_eq!(client.ask(2, 1, READ).await, ZERO);
    plc.set_unit_fault(2, None);
    assert_eq!(client.ask(3, 2, READ).await, ZERO);
}

#[tokio::test]
async fn a_slow_unit_delays_no_other_of_its_connection() {
    let plc = plc(PlcSettings { unit_ids: vec![1, 2], ..PlcSettings::default() });
    plc.set_unit_fault(2, Some(Fault::Delay { by: PATIENCE * 10 }));
    let mut client = Client::new(&plc).await;
    client.send(1, 2, READ).await;
    assert_eq!(client.ask(2, 1, READ).await, ZERO);
}

#[tokio::test]
async fn a_script_begins_and_ends_by_itself() {
    let faults = vec![ScriptedFault::always(Fault::Silence).between(Duration::ZERO, ms(300))];
    let plc = plc(PlcSettings { faults, ..PlcSettings::default() });
    let mut client = Client::new(&plc).await;
    client.send(1, 1, READ).await;
    assert!(client.hears_nothing().await);
    let (plc, client) = (&plc, tokio::sync::Mutex::new(client));
    until(|| async {
        let mut client = client.lock().await;
        client.send(2, 1, READ).await;
        !client.hears_nothing().await
    })
    .await;
    assert!(plc.stats().requests >= 2);
}

#[tokio::test]
async fn a_script_can_begin_with_nobody_there() {
    let faults = vec![ScriptedFault::always(Fault::Refuse).between(Duration::ZERO, ms(300))];
    let plc = plc(PlcSettings { faults, ..PlcSettings::default() });
    assert!(refuses(&plc).await);
    until(|| async { !refuses(&plc).await }).await;
}
