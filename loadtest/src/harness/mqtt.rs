//! The least that hears MQTT: one connection, one subscription at `QoS` 0, a callback per message.
//!
//! Knows as much of MQTT 3.1.1 as that needs. A client of its own so that hearing a million values a second
//! costs little beside what is measured, and shares no thread with a client that is measured.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::error::LoadError;

/// How long the broker may take to let it in.
const PATIENCE: Duration = Duration::from_secs(5);
/// CONNACK, SUBACK and PUBLISH (MQTT 3.1.1, 2.2.1).
const CONNACK: u8 = 2;
const SUBACK: u8 = 9;
const PUBLISH: u8 = 3;

/// A subscription that lasts until this is dropped or the broker ends it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    stream: TcpStream,
    hearing: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes at a broker on this port of the loopback; `hear` gets each payload.
    pub(crate) fn start(
        port: u16,
        filter: &str,
        hear: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, LoadError> {
        let open = || {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            for (packet, answer) in [(connect("loadtest"), CONNACK), (subscribe(filter), SUBACK)] {
                stream.write_all(&packet)?;
                expect(&mut stream, answer)?;
            }
            stream.set_read_timeout(None)?;
            let reading = stream.try_clone()?;
            Ok((stream, reading))
        };
        let (stream, reading) = open().map_err(LoadError::at(format!("broker on port {port}")))?;
        let hearing = thread::spawn(move || listen(reading, hear));
        Ok(Self { stream, hearing: Some(hearing) })
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        // The broker may have ended it.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(hearing) = self.hearing.take() {
            let _ = hearing.join();
        }
    }
}

/// Reads an answer of four or five bytes and checks that it is a yes.
fn expect(stream: &mut TcpStream, answer: u8) -> std::io::Result<()> {
    let mut head = [0; 2];
    stream.read_exact(&mut head)?;
    let mut body = vec![0; usize::from(head[1])];
    stream.read_exact(&mut body)?;
    if head[0] >> 4 == answer && body.last().is_some_and(|code| *code < 0x80) {
        return Ok(());
    }
    Err(std::io::Error::other(format!("the broker answered {head:02x?} {body:02x?}")))
}

/// Reads until the connection ends.
fn listen(mut stream: TcpStream, mut hear: impl FnMut(&[u8])) {
    let mut bytes = vec![0; 1 << 20];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..)
        && let Ok(read @ 1..) = stream.read(room)
    {
        filled += read;
        let mut taken = 0;
        while let Some(packet) = bytes.get(taken..filled).and_then(packet) {
            if let Some(payload) = packet.payload() {
                hear(payload);
            }
            taken += packet.length;
        }
        bytes.copy_within(taken..filled, 0);
        filled -= taken;
    }
}

/// One whole packet at the beginning of some bytes.
struct Packet<'a> {
    first: u8,
    body: &'a [u8],
    /// With its header.
    length: usize,
}

/// None while a packet isn't there as a whole.
fn packet(bytes: &[u8]) -> Option<Packet<'_>> {
    let (first, rest) = bytes.split_first()?;
    let digits = 1 + rest.iter().take(3).take_while(|digit| **digit & 0x80 != 0).count();
    let number = rest.get(..digits)?.iter().rev();
    let body = number.fold(0, |sum, digit| (sum << 7) | usize::from(*digit & 0x7f));
    let length = 1 + digits + body;
    Some(Packet { first: *first, body: bytes.get(1 + digits..length)?, length })
}

impl<'a> Packet<'a> {
    /// Of a PUBLISH; other packets have none.
    fn payload(&self) -> Option<&'a [u8]> {
        let (high, low) = (self.body.first()?, self.body.get(1)?);
        let topic = usize::from(u16::from_be_bytes([*high, *low]));
        let identifier = if self.first & 0b110 == 0 { 0 } else { 2 };
        self.body.get(2 + topic + identifier..).filter(|_| self.first >> 4 == PUBLISH)
    }
}

/// Clean session, no keep-alive.
fn connect(client: &str) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x04\x02\0\0".to_vec();
    body.extend(text(client));
    [&[0x10, length(&body)], body.as_slice()].concat()
}

fn subscribe(filter: &str) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(text(filter));
    body.push(0);
    [&[0x82, length(&body)], body.as_slice()].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[0, length(text.as_bytes())], text.as_bytes()].concat()
}

/// Of what is sent here, all of it short.
fn length(bytes: &[u8]) -> u8 {
    u8::try_from(bytes.len()).unwrap_or(0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_one_after_the_other_whatever_their_length() {
        let long = [&[0x30, 0x81, 0x01, 0, 1, b't'][..], &[b'x'; 126]].concat();
        let wire = [&[0x32, 6, 0, 1, b't', 0, 9, b'y'][..], &long, &[0x30, 5, 0, 1]].concat();
        let first = packet(&wire).unwrap();
        assert_eq!((first.payload(), first.length), (Some(&b"y"[..]), 8));
        let second = packet(&wire[8..]).unwrap();
        assert_eq!((second.payload().map(<[u8]>::len), second.length), (Some(126), 132));
        assert!(packet(&wire[140..]).is_none(), "cut off");
    }

    #[test]
    fn what_is_sent_is_as_the_specification_has_it() {
        assert_eq!(connect("c"), b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c");
        assert_eq!(subscribe("#"), b"\x82\x06\0\x01\0\x01#\0");
        assert!(packet(b"\x90\x03\0\x01\0").unwrap().payload().is_none());
    }
}
