//! Is this a Modbus server, and what does it say of itself?
//!
//! Asks for one holding register first: every server has an answer to that, be it a refusal, while some stay
//! silent on a function they don't know, which would cost the connection. The identification
//! (function 43/14, Modbus Application Protocol V1.1b3, 6.21) comes second. Used by discovery.

use std::time::Duration;

use serde::Serialize;
use tokio_modbus::{
    Request, Response,
    prelude::{ReadCode, ReadDeviceIdentificationResponse},
};

use super::{CallError, Client};

/// Answers that basic identification may be spread over.
const MAX_PARTS: usize = 4;

/// A server that answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The exception that reading holding register 0 was refused with; 0x0A and 0x0B come from a gateway
    /// that can't reach the unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exception: Option<u8>,
    /// What it says of itself, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// Basic identification: objects 0 to 2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// Object 0.
    pub vendor: String,
    /// Object 1.
    pub product: String,
    /// Object 2.
    pub revision: String,
}

/// Asks `unit`, each request within `timeout`. Any well-formed answer makes it a Modbus server; an error
/// means that none came.
pub async fn probe(client: &mut Client, unit: u8, timeout: Duration) -> Result<Found, CallError> {
    let exception = match client.call(unit, &Request::ReadHoldingRegisters(0, 1), timeout).await {
        Ok(_) => None,
        Err(CallError::Exception(code)) => Some(code),
        Err(error) => return Err(error),
    };
    Ok(Found { exception, identity: identify(client, unit, timeout).await })
}

async fn identify(client: &mut Client, unit: u8, timeout: Duration) -> Option<Identity> {
    let mut identity = None;
    let mut next = 0;
    for _ in 0..MAX_PARTS {
        let request = Request::ReadDeviceIdentification(ReadCode::Basic, next);
        let Ok(Response::ReadDeviceIdentification(part)) = client.call(unit, &request, timeout).await else {
            break;
        };
        add(identity.get_or_insert_default(), &part);
        if !part.more_follows || part.next_object_id <= next {
            break;
        }
        next = part.next_object_id;
    }
    identity
}

fn add(identity: &mut Identity, part: &ReadDeviceIdentificationResponse) {
    for object in &part.device_id_objects {
        let text = String::from_utf8_lossy(&object.value).trim_end_matches('\0').trim().to_owned();
        match object.id {
            0 => identity.vendor = text,
            1 => identity.product = text,
            2 => identity.revision = text,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::modbus::Framing;

    const TIMEOUT: Duration = Duration::from_secs(1);

    /// Answers TCP requests with these PDUs, one after the other, then stays silent.
    async fn serve(mut peer: DuplexStream, answers: &[&[u8]]) -> DuplexStream {
        for pdu in answers {
            let mut header = [0; 7];
            peer.read_exact(&mut header).await.unwrap();
            let mut request = vec![0; usize::from(header[5]) - 1];
            peer.read_exact(&mut request).await.unwrap();
            header[5] = u8::try_from(pdu.len() + 1).unwrap();
            peer.write_all(&[&header, *pdu].concat()).await.unwrap();
        }
        peer
    }

    async fn found(answers: &[&[u8]]) -> Result<Found, CallError> {
        let (ours, theirs) = duplex(1024);
        let mut client = Client::attach(ours, Framing::Tcp);
        let (found, _peer) = tokio::join!(probe(&mut client, 1, TIMEOUT), serve(theirs, answers));
        found
    }

    const IDENTIFICATION: &[u8] = b"\x2B\x0E\x01\x01\x00\x00\x03\x00\x04Acme\x01\x02P7\x02\x041.2\0";

    #[tokio::test(start_paused = true)]
    async fn a_server_is_found_with_what_it_says_of_itself() {
        let found = found(&[&[3, 2, 0, 1], IDENTIFICATION]).await.unwrap();
        let identity = Identity { vendor: "Acme".into(), product: "P7".into(), revision: "1.2".into() };
        assert_eq!(found, Found { exception: None, identity: Some(identity) });
    }

    #[tokio::test(start_paused = true)]
    async fn an_identification_in_parts_is_put_together() {
        let first = b"\x2B\x0E\x01\x01\xFF\x01\x01\x00\x04Acme";
        let second = b"\x2B\x0E\x01\x01\x00\x00\x01\x01\x02P7";
        let found = found(&[&[3, 2, 0, 1], first, second]).await.unwrap();
        let identity = Identity { vendor: "Acme".into(), product: "P7".into(), revision: String::new() };
        assert_eq!(found.identity, Some(identity));
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_an_answer_too() {
        let found = found(&[&[0x83, 2], &[0xAB, 1]]).await.unwrap();
        assert_eq!(found, Found { exception: Some(2), identity: None });
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_silent_on_identification_is_found_nevertheless() {
        assert_eq!(found(&[&[3, 2, 0, 1]]).await.unwrap(), Found { exception: None, identity: None });
    }

    #[tokio::test(start_paused = true)]
    async fn what_speaks_another_protocol_is_none() {
        let (ours, mut theirs) = duplex(1024);
        theirs.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n").await.unwrap();
        assert!(probe(&mut Client::attach(ours, Framing::Tcp), 1, TIMEOUT).await.is_err());
        assert!(found(&[]).await.is_err());
    }
}
