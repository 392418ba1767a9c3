//! Third-party Modbus: pymodbus and libmodbus as servers, mbpoll as a client, socat as a serial line.
//!
//! Both servers hold the values that `tests/support/pymodbus_server.py` describes; [`register`]
//! knows them too.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{process::Process, until_true};

/// The holding register that both servers have at an address.
pub(crate) fn register(address: u16) -> u16 {
    match address {
        // 3.5 as a float32 in each order of its bytes: two registers, one of them zero.
        100 | 103 => 0x4060,
        104 | 107 => 0x6040,
        101 | 102 | 105 | 106 => 0,
        110 => 0x4249,
        111 => 0x4652,
        112 => 0x4f53,
        113 => 0x5400,
        120..=122 => 0xffff,
        123 => 0xfffe,
        plain => plain,
    }
}

/// pymodbus: units 1 to 3; other units are refused with 0B over TCP, and silent on a serial line.
pub(crate) struct Pymodbus {
    pub(crate) address: String,
    _process: Process,
}

impl Pymodbus {
    pub(crate) fn tcp() -> Self {
        Self::start(&["--port", "0"], |port| format!("127.0.0.1:{port}"))
    }

    pub(crate) fn serial(path: &Path) -> Self {
        Self::start(&["--serial", path.to_str().unwrap()], str::to_owned)
    }

    /// With these arguments of the script; `address` makes one of what it says that it listens on.
    pub(crate) fn start(args: &[&str], address: impl Fn(&str) -> String) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let script = root.join("tests/support/pymodbus_server.py");
        let args = [&[script.to_str().unwrap()], args].concat();
        let mut process = Process::test_tool(&root.join(".venv/bin/python"), &args);
        let address = address(&listening(&mut process));
        Self { address, _process: process }
    }
}

/// libmodbus: over TCP any unit, on a serial line unit 1.
pub(crate) struct Libmodbus {
    pub(crate) address: String,
    _process: Process,
}

impl Libmodbus {
    pub(crate) fn tcp(options: &[&str]) -> Self {
        let mut process = Process::test_tool(&server(), &[&["--port", "0"], options].concat());
        let address = format!("127.0.0.1:{}", listening(&mut process));
        Self { address, _process: process }
    }

    pub(crate) fn serial(path: &Path) -> Self {
        let mut process = Process::test_tool(&server(), &["--serial", path.to_str().unwrap()]);
        let address = listening(&mut process);
        Self { address, _process: process }
    }
}

/// What scripts/test-tools.sh compiled.
fn server() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../test-tools/libmodbus_server")
}

/// Where a server says that it listens.
fn listening(process: &mut Process) -> String {
    let line = process.line("`listening …`", |line| line.starts_with("listening "));
    line.trim_start_matches("listening ").to_owned()
}

/// Two ends of a serial line, made by socat.
pub(crate) struct SerialLine {
    folder: TempDir,
    _socat: Process,
}

impl SerialLine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let end = |name: &str| format!("pty,raw,echo=0,link={}", folder.path().join(name).display());
        let mut command = Command::new("socat");
        let socat = Process::start(command.args(["-d", &end("gateway"), &end("plc")]));
        let line = Self { folder, _socat: socat };
        until_true("both ends of a serial line", || line.plc_end().exists() && line.gateway_end().exists());
        line
    }

    pub(crate) fn plc_end(&self) -> PathBuf {
        self.folder.path().join("plc")
    }

    fn gateway_end(&self) -> PathBuf {
        self.folder.path().join("gateway")
    }

    /// As a configuration names it.
    pub(crate) fn address(&self) -> String {
        format!("{}?baud=19200&parity=none", self.gateway_end().display())
    }
}

/// mbpoll, a client on libmodbus, that looks at a server past the gateway.
pub(crate) struct Mbpoll<'a> {
    pub(crate) address: &'a str,
    pub(crate) unit: u8,
}

impl Mbpoll<'_> {
    /// Registers or, with `table` 0 or 1, bits; addresses from 0. Tables: 0 coils, 1 discrete inputs, 3 input
    /// registers, 4 holding registers.
    #[track_caller]
    pub(crate) fn read(&self, table: u8, first: u16, count: u16) -> Vec<u16> {
        let (host, port) = self.address.split_once(':').expect("host:port");
        let (unit, table) = (self.unit.to_string(), table.to_string());
        let (first, count) = (first.to_string(), count.to_string());
        let args = ["-0", "-1", "-q", "-m", "tcp", "-p", port, "-a", &unit, "-t", &table, "-r", &first];
        let output = Command::new("mbpoll").args(args).args(["-c", &count, host]).output();
        let output =
            output.unwrap_or_else(|error| panic!("mbpoll: {error}: run `make test`, which installs it"));
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        // [100]: 	16480
        let lines = text.lines().filter(|line| line.starts_with('['));
        let value = |line: &str| line.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        lines.map(|line| value(line).unwrap_or_else(|| panic!("mbpoll said {line:?}"))).collect()
    }
}
