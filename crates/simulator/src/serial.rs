//! A PLC on a serial line, or on a pseudo terminal: opens the port by its path, again when it is lost.

use std::{fmt, io, str::FromStr, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_serial::{DataBits, FlowControl, Parity, SerialPortBuilder, SerialStream, StopBits};
use tracing::warn;

use crate::{
    device::Device,
    framing::Framing,
    plan::Reach,
    rights::Grants,
    session::{serve, sleep_until_some, until_true},
};

/// Between two attempts to open a port.
const RETRY: Duration = Duration::from_secs(1);

/// A serial port: `/dev/ttyUSB0?baud=9600&parity=even&data_bits=8&stop_bits=1`.
///
/// Without them: 19200 baud, even parity, 8 data bits, 1 stop bit (MODBUS over Serial Line V1.02, 2.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// The device file.
    pub path: String,
    /// Bits per second.
    pub baud: u32,
    /// `none`, `even` or `odd`.
    pub parity: Parity,
    /// 7 or 8.
    pub data_bits: DataBits,
    /// 1 or 2.
    pub stop_bits: StopBits,
}

impl SerialSettings {
    /// This port with the settings of the specification.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            baud: 19200,
            parity: Parity::Even,
            data_bits: DataBits::Eight,
            stop_bits: StopBits::One,
        }
    }

    pub(crate) fn open(&self) -> io::Result<SerialStream> {
        Ok(SerialStream::open(&self.builder())?)
    }

    fn builder(&self) -> SerialPortBuilder {
        tokio_serial::new(&self.path, self.baud)
            .parity(self.parity)
            .data_bits(self.data_bits)
            .stop_bits(self.stop_bits)
            .flow_control(FlowControl::None)
    }

    fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match (key, value) {
            ("baud", baud) => self.baud = baud.parse().ok().filter(|baud| *baud > 0)?,
            ("parity", "none") => self.parity = Parity::None,
            ("parity", "even") => self.parity = Parity::Even,
            ("parity", "odd") => self.parity = Parity::Odd,
            ("data_bits", "7") => self.data_bits = DataBits::Seven,
            ("data_bits", "8") => self.data_bits = DataBits::Eight,
            ("stop_bits", "1") => self.stop_bits = StopBits::One,
            ("stop_bits", "2") => self.stop_bits = StopBits::Two,
            _ => return None,
        }
        Some(())
    }
}

impl FromStr for SerialSettings {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, options) = text.split_once('?').unwrap_or((text, ""));
        let mut settings = Self::new(path);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            settings.set(key, value).ok_or_else(|| {
                format!("{option:?} is no setting of a serial port; use baud=N, parity=none|even|odd, data_bits=7|8, stop_bits=1|2")
            })?;
        }
        Ok(settings)
    }
}

impl fmt::Display for SerialSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parity = self.parity.to_string().to_ascii_lowercase();
        let (data, stop) = (u8::from(self.data_bits), u8::from(self.stop_bits));
        write!(f, "{}?baud={}&parity={parity}&data_bits={data}&stop_bits={stop}", self.path, self.baud)
    }
}

/// Serves the port until `stop` becomes true. When this future is dropped, the port is closed.
pub(crate) async fn run(
    device: Arc<Device>,
    settings: SerialSettings,
    mut port: Option<SerialStream>,
    mut stop: watch::Receiver<bool>,
) {
    let mut switched = device.faults.subscribe();
    let serving = async {
        loop {
            let (reach, change) = device.reach();
            if reach == Reach::Gone {
                port = None;
                wait_for_change(change, &mut switched).await;
                continue;
            }
            match port.take().map_or_else(|| settings.open(), Ok) {
                Ok(port) => until_gone(&device, port, &mut switched).await,
                Err(error) => {
                    warn!(plc = device.settings.name, port = settings.path, %error,
                        "can't open the serial port; check its path and who else has it open");
                    sleep(RETRY).await;
                }
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = until_true(&mut stop) => {}
    }
}

/// Serves an open port until it breaks or the PLC is to be gone.
async fn until_gone(device: &Arc<Device>, port: SerialStream, switched: &mut watch::Receiver<()>) {
    let closing = watch::Sender::new(false);
    let gone = async {
        while let (Reach::Open | Reach::HalfOpen, change) = device.reach() {
            wait_for_change(change, switched).await;
        }
    };
    tokio::select! {
        () = gone => return,
        () = serve(port, Framing::Rtu, Arc::clone(device), Grants::All, closing.subscribe()) => {}
    }
    // A port that ends at once is not opened again at once.
    sleep(RETRY).await;
}

async fn wait_for_change(change: Option<Instant>, switched: &mut watch::Receiver<()>) {
    tokio::select! {
        () = sleep_until_some(change) => {}
        _ = switched.changed() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_read_as_it_is_written() {
        for text in [
            "/dev/ttyS0?baud=9600&parity=none&data_bits=7&stop_bits=2",
            "/dev/pts/3?baud=19200&parity=even&data_bits=8&stop_bits=1",
        ] {
            assert_eq!(text.parse::<SerialSettings>().unwrap().to_string(), text);
        }
        assert_eq!("/dev/ttyS0".parse(), Ok(SerialSettings::new("/dev/ttyS0")));
        for bad in ["/dev/ttyS0?speed=9600", "/dev/ttyS0?baud=0", "/dev/ttyS0?parity=mark", "/dev/ttyS0?baud"]
        {
            assert!(bad.parse::<SerialSettings>().unwrap_err().contains("use baud=N"), "{bad}");
        }
    }
}
