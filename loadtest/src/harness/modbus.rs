//! The least that writes a register: one frame out, one in. What a write costs without a gateway.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use crate::error::LoadError;

/// A connection to one PLC.
#[derive(Debug)]
pub(crate) struct BareClient(TcpStream);

impl BareClient {
    /// Connects to a PLC on this port of the loopback.
    pub(crate) fn open(port: u16) -> Result<Self, LoadError> {
        let connect = || {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(5)))?;
            Ok(stream)
        };
        connect().map(Self).map_err(LoadError::at(format!("PLC on port {port}")))
    }

    /// Function 06 (Modbus Application Protocol V1.1b3, 6.6); the answer repeats the request.
    pub(crate) fn write(&mut self, register: u16, value: u16) -> Result<(), LoadError> {
        let ([a, b], [c, d]) = (register.to_be_bytes(), value.to_be_bytes());
        let request = [0, 1, 0, 0, 0, 6, 1, 6, a, b, c, d];
        let mut answer = [0; 12];
        let exchanged = self.0.write_all(&request).and_then(|()| self.0.read_exact(&mut answer));
        exchanged.map_err(LoadError::at("writing a PLC's register"))?;
        if answer == request { Ok(()) } else { Err(LoadError::Unreadable(format!("the PLC's {answer:?}"))) }
    }
}
