//! Writes to a device that has all functions, and to ones that lack some.

use std::rc::Rc;

use bifrost_model::DataType;

use super::*;
use crate::{
    Driver,
    modbus::{
        ByteOrder, DriverSettings,
        fake::{Fake, TIMEOUT},
    },
};

const POINTS: [(&str, &str); 8] = [
    ("coil:3", "bool"),
    ("holding:5", "int16"),
    ("holding:10", "float32"),
    ("holding:20.4", "bool"),
    ("input:1", "int16"),
    ("discrete:1", "bool"),
    ("holding:100", "string(250)"),
    ("holding:300", "string(244)"),
];
const COIL: u32 = 0;
const REGISTER: u32 = 1;
const FLOAT: u32 = 2;
const BIT: u32 = 3;

fn driver(device: &Rc<Fake>) -> ModbusDriver<Rc<Fake>> {
    let point = |(address, data_type): (&str, &str)| {
        let data_type: DataType = data_type.parse().unwrap();
        Point::new(address.parse().unwrap(), data_type, ByteOrder::Abcd, 1.0, 0.0).unwrap()
    };
    let points: Vec<_> = POINTS.into_iter().map(point).collect();
    ModbusDriver::new(Rc::clone(device), 1, points, DriverSettings::default())
}

/// Writes without reading back, and says which requests that took.
async fn write(device: &Rc<Fake>, driver: &ModbusDriver<Rc<Fake>>, tag: u32, value: Value) -> Vec<String> {
    assert_eq!(driver.write(tag, &value, false).await, Ok(None));
    device.requests()
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_tag_has_its_function() {
    let device = Fake::new();
    let driver = driver(&device);
    assert_eq!(write(&device, &driver, COIL, Value::Bool(true)).await, ["5: 3 true"]);
    assert_eq!(write(&device, &driver, REGISTER, Value::Int(-2)).await, ["6: 5 65534"]);
    assert_eq!(write(&device, &driver, FLOAT, Value::Float32(25.4)).await, ["16: 10 [16843, 13107]"]);
    assert_eq!(write(&device, &driver, BIT, Value::Bool(true)).await, ["22: 20 FFEF 0010"]);
    assert_eq!(write(&device, &driver, BIT, Value::Bool(false)).await, ["22: 20 FFEF 0000"]);
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_write_goes_ahead_of_reads() {
    let device = Fake::new();
    device.state().lacks.extend([22, 23]);
    let driver = driver(&device);
    for (tag, value) in [(COIL, Value::Bool(true)), (FLOAT, Value::Int(1)), (BIT, Value::Bool(true))] {
        driver.write(tag, &value, true).await.unwrap();
    }
    assert!(device.state().log.iter().all(|(_, priority)| *priority == Priority::Write));
    assert_eq!(device.state().log.len(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_missing_function_is_replaced_and_remembered() {
    let device = Fake::new();
    device.state().lacks.extend([5, 6, 22]);
    let driver = driver(&device);
    assert_eq!(write(&device, &driver, COIL, Value::Bool(true)).await, ["5: 3 true", "15: 3 [true]"]);
    assert_eq!(write(&device, &driver, COIL, Value::Bool(true)).await, ["15: 3 [true]"]);
    assert_eq!(write(&device, &driver, REGISTER, Value::Int(7)).await, ["6: 5 7", "16: 5 [7]"]);
    assert_eq!(write(&device, &driver, REGISTER, Value::Int(7)).await, ["16: 5 [7]"]);
    // Register 20 holds 20, which is 0b1_0100.
    let first = write(&device, &driver, BIT, Value::Bool(false)).await;
    assert_eq!(first, ["22: 20 FFEF 0000", "3: 20+1", "16: 20 [4]"]);
    assert_eq!(write(&device, &driver, BIT, Value::Bool(true)).await, ["3: 20+1", "16: 20 [20]"]);
    assert_eq!(driver.learned()["writes"]["functions_absent"], json!([5, 6, 22]));
    driver.forget();
    assert_eq!(write(&device, &driver, COIL, Value::Bool(true)).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_the_device_holds_afterwards_is_read_back() {
    let device = Fake::new();
    let driver = driver(&device);
    for (tag, value, requests) in [
        (REGISTER, Value::Int(-2), vec!["23: 5 [65534]"]),
        (FLOAT, Value::Float32(25.4), vec!["23: 10 [16843, 13107]"]),
        (COIL, Value::Bool(true), vec!["5: 3 true", "1: 3+1"]),
        (BIT, Value::Bool(true), vec!["22: 20 FFEF 0010", "3: 20+1"]),
        (BIT, Value::Bool(false), vec!["22: 20 FFEF 0000", "3: 20+1"]),
    ] {
        assert_eq!(driver.write(tag, &value, true).await, Ok(Some(value)));
        assert_eq!(device.requests(), requests);
    }
}

#[tokio::test(start_paused = true)]
async fn without_function_23_two_requests_read_back() {
    let device = Fake::new();
    device.state().lacks.insert(23);
    let driver = driver(&device);
    assert_eq!(driver.write(REGISTER, &Value::Int(7), true).await, Ok(Some(Value::Int(7))));
    assert_eq!(device.requests(), ["23: 5 [7]", "6: 5 7", "3: 5+1"]);
    assert_eq!(driver.write(FLOAT, &Value::Float32(25.4), true).await, Ok(Some(Value::Float32(25.4))));
    assert_eq!(device.requests(), ["16: 10 [16843, 13107]", "3: 10+2"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_silent_on_function_23_is_not_asked_for_it_twice() {
    let device = Fake::new();
    let driver = driver(&device);
    device.state().next.push_back(Err(TIMEOUT));
    let lost = driver.write(REGISTER, &Value::Int(7), true).await;
    assert!(matches!(lost, Err(WriteError::Device(DeviceError::Timeout(_)))), "{lost:?}");
    device.requests();
    assert_eq!(driver.write(REGISTER, &Value::Int(7), true).await, Ok(Some(Value::Int(7))));
    assert_eq!(device.requests(), ["6: 5 7", "3: 5+1"]);
}

#[tokio::test(start_paused = true)]
async fn silence_alone_never_turns_a_mask_write_into_one_that_is_not_atomic() {
    let device = Fake::new();
    let driver = driver(&device);
    device.state().next.push_back(Err(TIMEOUT));
    assert!(driver.write(BIT, &Value::Bool(true), false).await.is_err());
    device.requests();
    assert_eq!(write(&device, &driver, BIT, Value::Bool(true)).await, ["22: 20 FFEF 0010"]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_write_that_cannot_be_read_back_was_written() {
    let device = Fake::new();
    let driver = driver(&device);
    device.state().next.extend([Ok(Response::WriteSingleCoil(3, true)), Err(TIMEOUT)]);
    assert_eq!(driver.write(COIL, &Value::Bool(true), true).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_and_a_lost_link_are_told_apart() {
    let device = Fake::new();
    let driver = driver(&device);
    let transport = |evidence: &str| WriteError::Device(DeviceError::Transport(evidence.into()));
    let unreachable = DeviceError::UnitUnreachable { unit: 1, code: 0x0B };
    for (answer, error) in [
        (Err(ExchangeError::Exception(2)), WriteError::Refused(2)),
        (Err(ExchangeError::Exception(0x0B)), WriteError::Device(unreachable)),
        (Err(ExchangeError::Device(DeviceError::Busy)), WriteError::Device(DeviceError::Busy)),
        (
            Ok(Response::WriteSingleRegister(5, 8)),
            transport("WriteSingleRegister(5, 7) was answered with WriteSingleRegister(5, 8)"),
        ),
    ] {
        device.state().next.push_back(answer);
        assert_eq!(driver.write(REGISTER, &Value::Int(7), false).await, Err(error));
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_is_given_time_for_a_write_too() {
    let device = Fake::new();
    let driver = driver(&device);
    device.state().next.extend(vec![Err(ExchangeError::Exception(6)); 3]);
    assert_eq!(write(&device, &driver, REGISTER, Value::Int(7)).await.len(), 4);
    device.state().next.extend(vec![Err(ExchangeError::Exception(6)); 4]);
    assert_eq!(driver.write(REGISTER, &Value::Int(7), false).await, Err(WriteError::Refused(6)));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_sent_is_told_so_and_teaches_nothing() {
    use crate::modbus::CallError;

    let device = Fake::new();
    let driver = driver(&device);
    let waited = std::time::Duration::from_secs(1);
    let quarantined = CallError::Quarantined { until: tokio::time::Instant::now(), waited };
    device.state().next.push_back(Err(quarantined.into()));
    let error = driver.write(REGISTER, &Value::Int(7), true).await.unwrap_err();
    assert_eq!(error, WriteError::Device(DeviceError::NotAsked(waited)));
    assert!(error.to_string().starts_with("not sent: "), "{error}");
    device.requests();
    driver.write(REGISTER, &Value::Int(7), true).await.unwrap();
    assert_eq!(device.requests(), ["23: 5 [7]"], "function 23 isn't taken for missing");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_device_is_processing_is_sent_once() {
    let device = Fake::new();
    let driver = driver(&device);
    let processing = Err(ExchangeError::Exception(5));
    for (tag, value, read_back) in [
        (COIL, Value::Bool(true), false),
        (REGISTER, Value::Int(7), false),
        (REGISTER, Value::Int(7), true),
        (FLOAT, Value::Float32(25.4), false),
        (BIT, Value::Bool(true), false),
    ] {
        device.state().next.push_back(processing.clone());
        assert_eq!(driver.write(tag, &value, read_back).await, Err(WriteError::Unconfirmed));
        assert_eq!(device.requests().len(), 1, "{value:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reads_of_a_write_are_repeated_while_the_device_processes_them() {
    let device = Fake::new();
    let driver = driver(&device);
    device.state().next.extend([Ok(Response::WriteSingleCoil(3, true)), Err(ExchangeError::Exception(5))]);
    device.state().held.insert((Table::Coil, 3), 1);
    assert_eq!(driver.write(COIL, &Value::Bool(true), true).await, Ok(Some(Value::Bool(true))));
    assert_eq!(device.requests(), ["5: 3 true", "1: 3+1", "1: 3+1"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_written_is_refused_before_anything_is_sent() {
    let device = Fake::new();
    let driver = driver(&device);
    for (tag, value, part) in [
        (4, Value::Int(1), "input:1 (Modicon 30002) can only be read"),
        (5, Value::Bool(true), "can only be read"),
        (6, Value::Text("x".into()), "125 registers can't be written at once, at most 123 can"),
        (REGISTER, Value::Int(40_000), "out of range"),
        (99, Value::Int(1), "no tag number 99"),
    ] {
        let WriteError::Unacceptable(reason) = driver.check_write(tag, &value).unwrap_err() else {
            panic!("{tag}");
        };
        assert!(reason.contains(part), "{reason}");
        assert_eq!(driver.write(tag, &value, true).await, Err(WriteError::Unacceptable(reason)));
    }
    assert!(device.state().log.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_text_too_long_for_function_23_is_read_back_in_two_requests() {
    let device = Fake::new();
    let driver = driver(&device);
    let text = Value::Text("x".repeat(244).into());
    assert_eq!(driver.write(7, &text, true).await, Ok(Some(text)));
    assert_eq!(device.requests().len(), 2);
}
