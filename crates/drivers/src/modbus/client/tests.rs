//! Over in-memory pipes, byte by byte where it matters, with time that only moves when all wait.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::sleep,
};

use super::*;

const TIMEOUT: Duration = Duration::from_secs(1);

fn pair(framing: Framing) -> (Client, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    (Client::attach(ours, framing), theirs)
}

fn read(start: u16) -> Request<'static> {
    Request::ReadHoldingRegisters(start, 1)
}

/// The answer to [`read`].
fn answer(value: u16) -> Vec<u8> {
    [&[3, 2][..], &value.to_be_bytes()].concat()
}

fn crc(data: &[u8]) -> [u8; 2] {
    let shift = |crc: u16, _| if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
    data.iter().fold(0xFFFF, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), shift)).to_le_bytes()
}

fn rtu_frame(unit: u8, pdu: &[u8]) -> Vec<u8> {
    let frame = [&[unit], pdu].concat();
    [&frame[..], &crc(&frame)].concat()
}

fn tcp_frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).unwrap();
    [&transaction.to_be_bytes()[..], &[0, 0], &length.to_be_bytes(), &[unit], pdu].concat()
}

/// The unit that a request of eight bytes (RTU) was for.
async fn next_rtu_request(peer: &mut DuplexStream) -> (u8, u16) {
    let mut frame = [0; 8];
    peer.read_exact(&mut frame).await.unwrap();
    (frame[0], u16::from_be_bytes([frame[2], frame[3]]))
}

/// The transaction id of a request of twelve bytes (TCP).
async fn next_tcp_request(peer: &mut DuplexStream) -> u16 {
    let mut frame = [0; 12];
    peer.read_exact(&mut frame).await.unwrap();
    u16::from_be_bytes([frame[0], frame[1]])
}

async fn send_byte_by_byte(peer: &mut DuplexStream, frame: &[u8]) {
    for byte in frame {
        peer.write_all(&[*byte]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
}

fn registers(result: Result<Response, CallError>) -> Vec<u16> {
    match result {
        Ok(Response::ReadHoldingRegisters(registers)) => registers,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_byte_by_byte() {
    let (mut client, mut peer) = pair(Framing::Tcp);
    let device = async {
        let transaction = next_tcp_request(&mut peer).await;
        send_byte_by_byte(&mut peer, &tcp_frame(transaction, 7, &answer(42))).await;
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(7, &request, TIMEOUT), device);
    assert_eq!(registers(result), [42]);

    let (mut client, mut peer) = pair(Framing::Rtu);
    let device = async {
        assert_eq!(next_rtu_request(&mut peer).await, (7, 0));
        send_byte_by_byte(&mut peer, &rtu_frame(7, &answer(42))).await;
    };
    let (result, ()) = tokio::join!(client.call(7, &request, TIMEOUT), device);
    assert_eq!(registers(result), [42]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_and_the_client_goes_on() {
    for framing in [Framing::Tcp, Framing::Rtu] {
        let (mut client, mut peer) = pair(framing);
        let device = async {
            for pdu in [vec![0x83, 2], answer(1)] {
                let frame = match framing {
                    Framing::Tcp => tcp_frame(next_tcp_request(&mut peer).await, 1, &pdu),
                    Framing::Rtu => {
                        next_rtu_request(&mut peer).await;
                        rtu_frame(1, &pdu)
                    }
                };
                peer.write_all(&frame).await.unwrap();
            }
        };
        let calls = async {
            assert_eq!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Exception(2)));
            assert_eq!(registers(client.call(1, &read(0), TIMEOUT).await), [1]);
        };
        tokio::join!(calls, device);
        assert!(client.is_usable());
    }
}

#[tokio::test(start_paused = true)]
async fn a_tcp_client_is_of_no_use_after_a_timeout() {
    let (mut client, mut peer) = pair(Framing::Tcp);
    assert_eq!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Timeout(TIMEOUT)));
    assert!(!client.is_usable());
    let transaction = next_tcp_request(&mut peer).await;
    peer.write_all(&tcp_frame(transaction, 1, &answer(99))).await.unwrap();
    let result = client.call(1, &read(5), TIMEOUT).await;
    assert!(matches!(result, Err(CallError::Transport(_))), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tcp_client_is_of_no_use_after_a_call_that_was_dropped() {
    let (mut client, _peer) = pair(Framing::Tcp);
    let dropped = tokio::time::timeout(TIMEOUT / 2, client.call(1, &read(0), TIMEOUT)).await;
    assert!(dropped.is_err());
    assert!(!client.is_usable());
    assert!(matches!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Transport(_))));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_transaction_number_ends_a_tcp_connection() {
    let (mut client, mut peer) = pair(Framing::Tcp);
    let device = async {
        let transaction = next_tcp_request(&mut peer).await;
        peer.write_all(&tcp_frame(transaction.wrapping_add(1), 1, &answer(99))).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(1, &request, TIMEOUT), device);
    assert!(matches!(result, Err(CallError::Transport(_))), "{result:?}");
    assert!(!client.is_usable());
}

#[tokio::test(start_paused = true)]
async fn garbage_ends_a_tcp_connection() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0, 0, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 1, 1]] {
        let (mut client, mut peer) = pair(Framing::Tcp);
        peer.write_all(garbage).await.unwrap();
        let result = client.call(1, &read(0), TIMEOUT).await;
        assert!(matches!(result, Err(CallError::Transport(_) | CallError::Timeout(_))), "{result:?}");
        assert!(!client.is_usable());
    }
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_stream_is_told_as_what_it_is() {
    for framing in [Framing::Tcp, Framing::Rtu] {
        let (mut client, peer) = pair(framing);
        let device = async {
            sleep(TIMEOUT / 2).await;
            drop(peer);
        };
        let request = read(0);
        let (result, ()) = tokio::join!(client.call(1, &request, TIMEOUT), device);
        assert_eq!(result, Err(CallError::Transport(CLOSED.to_owned())), "{framing:?}");
        assert!(!client.is_usable());
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_rtu_reply_is_never_the_answer_of_the_next_request() {
    for late_by in [0, 1, 1500, 2999, 3000] {
        let (mut client, mut peer) = pair(Framing::Rtu);
        let request = read(0);
        assert_eq!(client.call(1, &request, TIMEOUT).await, Err(CallError::Timeout(TIMEOUT)));
        let may_be_asked_again = Instant::now() + TIMEOUT * 3;
        assert_eq!(next_rtu_request(&mut peer).await, (1, 0));

        let same_function_and_quantity = read(5);
        let refused = client.call(1, &same_function_and_quantity, TIMEOUT).await;
        assert!(matches!(refused, Err(CallError::Quarantined { .. })), "{refused:?}");
        sleep(Duration::from_millis(late_by)).await;
        send_byte_by_byte(&mut peer, &rtu_frame(1, &answer(0xDEAD))).await;
        tokio::time::sleep_until(may_be_asked_again).await;

        let device = async {
            assert_eq!(next_rtu_request(&mut peer).await, (1, 5));
            peer.write_all(&rtu_frame(1, &answer(7))).await.unwrap();
        };
        let (result, ()) = tokio::join!(client.call(1, &same_function_and_quantity, TIMEOUT), device);
        assert_eq!(registers(result), [7], "late by {late_by} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn other_units_of_the_line_are_asked_at_once_and_not_confused() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    assert_eq!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Timeout(TIMEOUT)));
    next_rtu_request(&mut peer).await;
    let device = async {
        assert_eq!(next_rtu_request(&mut peer).await, (2, 0), "sent once");
        send_byte_by_byte(&mut peer, &rtu_frame(1, &answer(0xDEAD))).await;
        peer.write_all(&rtu_frame(2, &answer(22))).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(2, &request, TIMEOUT), device);
    assert_eq!(registers(result), [22]);
    let again = client.call(1, &request, TIMEOUT).await;
    assert!(matches!(again, Err(CallError::Quarantined { waited: TIMEOUT, .. })), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_foreign_frame_and_the_answer_may_arrive_together() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    let device = async {
        next_rtu_request(&mut peer).await;
        let both = [rtu_frame(9, &answer(1)), rtu_frame(2, &[6, 0, 0, 0, 1]), rtu_frame(2, &answer(22))];
        peer.write_all(&both.concat()).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(2, &request, TIMEOUT), device);
    assert_eq!(registers(result), [22]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_in_the_input_is_thrown_away_before_a_request() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    peer.write_all(&rtu_frame(1, &answer(0xDEAD))).await.unwrap();
    let device = async {
        next_rtu_request(&mut peer).await;
        peer.write_all(&rtu_frame(1, &answer(7))).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(1, &request, TIMEOUT), device);
    assert_eq!(registers(result), [7]);
}

#[tokio::test(start_paused = true)]
async fn an_rtu_call_that_was_dropped_counts_as_unanswered() {
    let (mut client, _peer) = pair(Framing::Rtu);
    let dropped = tokio::time::timeout(TIMEOUT / 2, client.call(1, &read(0), TIMEOUT)).await;
    assert!(dropped.is_err());
    assert!(client.is_usable());
    let again = client.call(1, &read(0), TIMEOUT).await;
    assert!(matches!(again, Err(CallError::Quarantined { .. })), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn noise_before_an_rtu_answer_is_passed_over() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    let device = async {
        next_rtu_request(&mut peer).await;
        peer.write_all(&[0xFF, 0xFF, 0xFF]).await.unwrap();
        peer.write_all(&rtu_frame(1, &answer(7))).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(client.call(1, &request, TIMEOUT), device);
    assert_eq!(registers(result), [7]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_rtu_answer_is_told_and_costs_no_other_unit_anything() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    let device = async {
        next_rtu_request(&mut peer).await;
        peer.write_all(&[0xFF; 60]).await.unwrap();
        next_rtu_request(&mut peer).await;
        peer.write_all(&rtu_frame(2, &answer(7))).await.unwrap();
    };
    let calls = async {
        let damaged = client.call(1, &read(0), TIMEOUT).await;
        assert!(matches!(damaged, Err(CallError::Garbled { bytes: 60, .. })), "{damaged:?}");
        assert!(client.is_usable());
        assert_eq!(registers(client.call(2, &read(0), TIMEOUT).await), [7]);
    };
    tokio::join!(calls, device);
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_late_replies_is_a_setting() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    client.set_late_reply_wait(Some(Duration::from_millis(10)));
    assert_eq!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Timeout(TIMEOUT)));
    next_rtu_request(&mut peer).await;
    sleep(Duration::from_millis(11)).await;
    assert_eq!(client.call(1, &read(0), TIMEOUT).await, Err(CallError::Timeout(TIMEOUT)));
    assert_eq!(next_rtu_request(&mut peer).await, (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_protocol_has_not_is_not_sent() {
    let (mut client, mut peer) = pair(Framing::Tcp);
    let result = client.call(1, &Request::ReadHoldingRegisters(0, 126), TIMEOUT).await;
    assert!(matches!(result, Err(CallError::Limit(_))), "{result:?}");
    assert!(client.is_usable());
    drop(client);
    let mut sent = Vec::new();
    peer.read_to_end(&mut sent).await.unwrap();
    assert!(sent.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_identification_may_come_over_rtu_byte_by_byte() {
    let (mut client, mut peer) = pair(Framing::Rtu);
    let device = async {
        let mut request = [0; 7];
        peer.read_exact(&mut request).await.unwrap();
        assert_eq!(request[..5], [1, 0x2B, 0x0E, 1, 0]);
        let pdu = b"\x2B\x0E\x01\x01\x00\x00\x01\x00\x04Acme";
        send_byte_by_byte(&mut peer, &rtu_frame(1, pdu)).await;
    };
    let request = Request::ReadDeviceIdentification(tokio_modbus::prelude::ReadCode::Basic, 0);
    let (result, ()) = tokio::join!(client.call(1, &request, TIMEOUT), device);
    let Ok(Response::ReadDeviceIdentification(identification)) = result else { panic!("{result:?}") };
    assert_eq!(&identification.device_id_objects[0].value[..], b"Acme");
}

/// A line on which somebody never stops talking.
#[derive(Debug)]
struct Babble;

impl tokio::io::AsyncRead for Babble {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        out: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        out.initialize_unfilled().fill(0x55);
        out.set_filled(out.capacity());
        std::task::Poll::Ready(Ok(()))
    }
}

impl tokio::io::AsyncWrite for Babble {
    fn poll_write(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        data: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::task::Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn poll_shutdown(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_line_that_never_falls_silent_holds_nobody_up() {
    let mut client = Client::attach(Babble, Framing::Rtu);
    let result = client.call(1, &read(0), Duration::from_millis(200)).await;
    assert!(matches!(result, Err(CallError::Garbled { .. })), "{result:?}");
}

#[tokio::test(start_paused = true)]
async fn the_next_connection_to_a_line_takes_over_what_the_units_owe() {
    let (mut before, _peer) = pair(Framing::Rtu);
    assert!(matches!(before.call(1, &read(0), TIMEOUT).await, Err(CallError::Timeout(_))));
    let dropped = tokio::time::timeout(TIMEOUT / 2, before.call(2, &read(0), TIMEOUT)).await;
    assert!(dropped.is_err(), "{dropped:?}");

    let (mut after, mut peer) = pair(Framing::Rtu);
    after.owe(before.take_debts());
    for unit in [1, 2] {
        let refused = after.call(unit, &read(0), TIMEOUT).await;
        assert!(matches!(refused, Err(CallError::Quarantined { .. })), "{refused:?}");
    }
    assert!(after.is_usable());
    sleep(TIMEOUT * 4).await;
    let device = async {
        assert_eq!(next_rtu_request(&mut peer).await, (1, 5));
        peer.write_all(&rtu_frame(1, &answer(9))).await.unwrap();
    };
    let request = read(5);
    let (result, ()) = tokio::join!(after.call(1, &request, TIMEOUT), device);
    assert_eq!(registers(result), [9]);
}

#[tokio::test(start_paused = true)]
async fn debts_taken_over_never_shorten_one_that_is_known() {
    let (mut before, _peer) = pair(Framing::Rtu);
    assert!(before.call(1, &read(0), TIMEOUT).await.is_err());
    sleep(TIMEOUT).await;
    let (mut after, _peer) = pair(Framing::Rtu);
    assert!(after.call(1, &read(0), TIMEOUT).await.is_err());
    let Err(CallError::Quarantined { until, .. }) = after.call(1, &read(0), TIMEOUT).await else {
        panic!("not in quarantine")
    };
    after.owe(before.take_debts());
    let again = after.call(1, &read(0), TIMEOUT).await;
    assert_eq!(again, Err(CallError::Quarantined { until, waited: TIMEOUT }));
}

#[tokio::test(start_paused = true)]
async fn a_tcp_connection_neither_leaves_debts_nor_takes_them() {
    let (mut line, _peer) = pair(Framing::Rtu);
    assert!(line.call(1, &read(0), TIMEOUT).await.is_err());
    let (mut tcp, mut peer) = pair(Framing::Tcp);
    tcp.owe(line.take_debts());
    let device = async {
        let transaction = next_tcp_request(&mut peer).await;
        peer.write_all(&tcp_frame(transaction, 1, &answer(3))).await.unwrap();
    };
    let request = read(0);
    let (result, ()) = tokio::join!(tcp.call(1, &request, TIMEOUT), device);
    assert_eq!(registers(result), [3]);

    assert!(tcp.call(1, &read(0), TIMEOUT).await.is_err());
    let (mut after, mut peer) = pair(Framing::Rtu);
    after.owe(tcp.take_debts());
    let device = async {
        next_rtu_request(&mut peer).await;
        peer.write_all(&rtu_frame(1, &answer(4))).await.unwrap();
    };
    let (result, ()) = tokio::join!(after.call(1, &request, TIMEOUT), device);
    assert_eq!(registers(result), [4]);
}
