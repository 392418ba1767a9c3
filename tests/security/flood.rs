//! Ten thousand connections that want nothing good leave polling as it was, and who means well is served.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    authority::Authority,
    harness::{Gateway, Plc, Site, until_true},
};

const CONNECTIONS: usize = 10_000;
const DEVICES: usize = 10;

/// A gateway that polls ten devices ten times a second, over HTTPS.
fn gateway(authority: &Authority, plcs: &[Plc]) -> Gateway {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let open = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap().0;
    assert!(open > CONNECTIONS as u64 + 2000, "only {open} files may be open: raise the limit (ulimit -n)");
    let devices: Vec<_> = plcs.iter().enumerate().map(|(n, plc)| {
        let tags = json!([{"id": "count", "address": "holding:0"}]);
        json!({"id": format!("plc-{n}"), "protocol": "modbus-tcp", "address": plc.address(), "poll_interval": "100ms", "tags": tags})
    }).collect();
    let mut sections = authority.sections(&json!({}));
    sections["gateway"]["performance"] = json!({"handshake_timeout": "2s", "read_timeout": "2s"});
    let gateway = Site::with(&sections, &json!(devices)).start();
    for n in 0..plcs.len() {
        gateway.await_quality(&format!("plc-{n}"), "count", "GOOD");
    }
    gateway
}

/// Scans that were due while another was still running, of all devices.
fn overruns(authority: &Authority, gateway: &Gateway) -> f64 {
    let bearer = format!("authorization: Bearer {}", crate::harness::identity::TOKEN);
    let text = authority.curl(&format!("{}/metrics", gateway.url), &["-H", &bearer]).stdout;
    let lines = text.lines().filter(|line| line.starts_with("bifrost_scan_overruns_total"));
    let counted: Vec<f64> = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(counted.len(), DEVICES, "{text}");
    counted.iter().sum()
}

/// What a connection begins with: nothing, a byte (and one more each second), or half a client hello, which says
/// that it is 512 bytes long.
const BEGINNINGS: [&[u8]; 3] = [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"];
/// What comes on the second kind, a byte a second.
const SLOWLY: &[u8] = b"\x03\x01\x02\x00\x01";
/// Who opens connections at a time.
const FLOODERS: usize = 10;

/// Opens connections of all kinds in turn, keeps those that were let in, and feeds the slow ones. Answers how many
/// there were.
fn flood(address: SocketAddr) -> usize {
    let flooder = move || {
        let mut open = Vec::new();
        for n in 0..CONNECTIONS / FLOODERS {
            let connected = TcpStream::connect_timeout(&address, Duration::from_secs(10));
            let Ok(mut stream) = connected else { continue };
            let _ = stream.write_all(BEGINNINGS[n % BEGINNINGS.len()]);
            open.push(stream);
        }
        for byte in SLOWLY {
            for stream in open.iter_mut().skip(1).step_by(BEGINNINGS.len()) {
                let _ = stream.write_all(&[*byte]);
            }
            thread::sleep(Duration::from_secs(1));
        }
        open.len()
    };
    let flooders: Vec<_> = (0..FLOODERS).map(|_| thread::spawn(flooder)).collect();
    flooders.into_iter().map(|flooder| flooder.join().unwrap()).sum()
}

#[test]
fn connections_that_are_silent_slow_or_half_open_are_closed_while_polling_goes_on_and_others_are_answered() {
    let authority = Authority::new();
    authority.issue_server(&[]);
    let plcs: Vec<_> = (0..DEVICES).map(|_| Plc::counting()).collect();
    let gateway = gateway(&authority, &plcs);
    let before = overruns(&authority, &gateway);
    let requests = || gateway.stats("plc-0")["requests_total"].as_u64().unwrap();
    let (asked, begun) = (requests(), Instant::now());
    let address = gateway.url.trim_start_matches("https://").parse().unwrap();
    let flooding = thread::spawn(move || flood(address));
    let (mut answered, mut tried) = (0, 0);
    while !flooding.is_finished() {
        let answer = authority.curl(&format!("{}/health", gateway.url), &["--max-time", "15"]);
        answered += usize::from(answer.code == Some(0));
        tried += 1;
    }
    let open = flooding.join().unwrap();
    assert!(open > CONNECTIONS * 9 / 10, "only {open} connections were open");
    assert!(answered > 0, "none of {tried} requests was answered");
    until_true("everybody is answered again", || gateway.get("/health").status == 200);
    let (scans, passed) = (requests() - asked, begun.elapsed().as_millis());
    assert!(u128::from(scans) * 125 > passed, "{scans} scans in {passed} ms");
    let more = overruns(&authority, &gateway) - before;
    assert!(more < 0.5, "{more} overruns");
    assert!(gateway.stop().success());
}
