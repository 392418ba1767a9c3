//! The simulator as an independent client, tokio-modbus, sees it: over TCP, RTU over TCP and a serial line.

use crate::support::{PATIENCE, address, plc, until};
use std::time::Duration;

use bifrost_model::DataType;
use bifrost_simulator::{Endpoint, Fault, Framing, PlcSettings, Signal, SimulatedPlc, Table, Wave};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_modbus::{
    ExceptionCode,
    client::{Context, Reader, Writer, rtu, tcp},
    prelude::SlaveContext,
    slave::Slave,
};
use tokio_serial::{SerialPort, SerialStream};

fn settings() -> PlcSettings {
    let wave = Wave::Constant { value: 42.0 };
    let signals = vec![
        Signal::new(Table::Input, 3, DataType::Uint16, wave),
        Signal::new(Table::Discrete, 2, DataType::Bool, Wave::Constant { value: 1.0 }),
    ];
    PlcSettings { unit_ids: vec![1, 7], signals, ..PlcSettings::default() }
}

/// Everything both framings can do.
async fn exercise(client: &mut Context) {
    client.write_single_register(0, 11).await.unwrap().unwrap();
    client.write_multiple_registers(1, &[22, 33]).await.unwrap().unwrap();
    client.masked_write_register(0, 0xFFF0, 0x0004).await.unwrap().unwrap();
    assert_eq!(client.read_holding_registers(0, 3).await.unwrap().unwrap(), [4, 22, 33]);
    assert_eq!(client.read_write_multiple_registers(1, 2, 2, &[44]).await.unwrap().unwrap(), [22, 44]);
    assert_eq!(client.read_input_registers(2, 3).await.unwrap().unwrap(), [0, 42, 0]);
    client.write_single_coil(5, true).await.unwrap().unwrap();
    client.write_multiple_coils(6, &[false, true]).await.unwrap().unwrap();
    assert_eq!(client.read_coils(5, 3).await.unwrap().unwrap(), [true, false, true]);
    assert_eq!(client.read_discrete_inputs(1, 3).await.unwrap().unwrap(), [false, true, false]);
    let refused = client.read_holding_registers(99, 2).await.unwrap();
    assert_eq!(refused.unwrap_err(), ExceptionCode::IllegalDataAddress);
    assert_eq!(client.read_holding_registers(0, 100).await.unwrap().unwrap().len(), 100);
}

#[tokio::test]
async fn it_speaks_modbus_tcp() {
    let plc = plc(settings());
    let mut client = tcp::connect_slave(address(&plc), Slave(1)).await.unwrap();
    exercise(&mut client).await;
    client.set_slave(Slave(7));
    assert_eq!(client.read_holding_registers(0, 1).await.unwrap().unwrap(), [0]);
    client.set_slave(Slave(9));
    let refused = client.read_holding_registers(0, 1).await.unwrap();
    assert_eq!(refused.unwrap_err(), ExceptionCode::GatewayTargetDevice);
}

#[tokio::test]
async fn it_speaks_rtu_over_tcp() {
    let endpoint = Endpoint::RtuOverTcp(([127, 0, 0, 1], 0).into());
    let plc = SimulatedPlc::listen(&endpoint, settings()).unwrap();
    let stream = TcpStream::connect(address(&plc)).await.unwrap();
    let mut client = rtu::attach_slave(stream, Slave(7));
    exercise(&mut client).await;
    assert_eq!(plc.memory_of(7).unwrap().holding(1), Some(22));
    assert_eq!(plc.memory().holding(1), Some(0));
}

#[tokio::test]
async fn the_beginning_of_an_rtu_frame_is_given_up_after_a_silence() {
    let endpoint = Endpoint::RtuOverTcp(([127, 0, 0, 1], 0).into());
    let plc = SimulatedPlc::listen(&endpoint, settings()).unwrap();
    let mut stream = TcpStream::connect(address(&plc)).await.unwrap();
    // FC 16 with 246 bytes to come: without an end of its patience it would take 31 more requests for them.
    stream.write_all(&[1, 16, 0, 0, 0, 123, 246]).await.unwrap();
    let mut answer = [0; 7];
    let mut asked = 0;
    let answered = async {
        loop {
            asked += 1;
            stream.write_all(&[1, 3, 0, 0, 0, 1, 0x84, 0x0A]).await.unwrap();
            if timeout(Duration::from_millis(700), stream.read_exact(&mut answer)).await.is_ok() {
                break;
            }
        }
    };
    timeout(PATIENCE, answered).await.unwrap();
    assert_eq!(answer[..5], [1, 3, 2, 0, 0]);
    assert!((2..31).contains(&asked), "{asked}");
}

#[tokio::test]
async fn it_speaks_rtu_on_a_serial_port_and_leaves_it_when_stopped() {
    let (master, slave) = SerialStream::pair().unwrap();
    let path = slave.name().expect("a pseudo terminal has a path");
    let plc = SimulatedPlc::listen(&path.parse().unwrap(), settings()).unwrap();
    assert!(plc.local_addr().is_err());
    let mut client = rtu::attach_slave(master, Slave(1));
    timeout(PATIENCE, exercise(&mut client)).await.unwrap();

    plc.stop().await;
    assert_eq!(plc.stats().connections_open, 0);
    plc.start().unwrap();
    timeout(PATIENCE, exercise(&mut client)).await.unwrap();
    drop(slave);
}

#[tokio::test]
async fn a_serial_plc_that_refuses_closes_its_port_and_returns() {
    let (master, slave) = SerialStream::pair().unwrap();
    let path = slave.name().expect("a pseudo terminal has a path");
    let plc = SimulatedPlc::listen(&path.parse().unwrap(), settings()).unwrap();
    plc.set_fault(Some(Fault::Refuse));
    until(|| async { plc.stats().connections_open == 0 }).await;
    plc.set_fault(None);
    until(|| async { plc.stats().connections_open == 1 }).await;
    let mut client = rtu::attach_slave(master, Slave(1));
    timeout(PATIENCE, exercise(&mut client)).await.unwrap();
}

#[tokio::test]
async fn it_serves_a_connection_that_somebody_else_made() {
    let plc = plc(settings());
    let (near, far) = tokio::io::duplex(64);
    let mut client = tcp::attach_slave(near, Slave(1));
    tokio::join!(plc.serve(far, Framing::Mbap), async move { exercise(&mut client).await });

    plc.stop().await;
    let (_near, far) = tokio::io::duplex(64);
    timeout(PATIENCE, plc.serve(far, Framing::Mbap)).await.expect("a stopped plc serves nobody");
}
