//! Scans of a device that refuses, stays silent, lies and hesitates.

use std::collections::BTreeMap;

use bifrost_model::{DataType, Quality};
use proptest::prelude::*;

use super::*;
use crate::modbus::{
    Address, ByteOrder, ExchangeError, Priority, Request, Response, Table,
    fake::{Fake, State, TIMEOUT},
};

type TestDriver = ModbusDriver<Rc<Fake>>;

fn at(offset: u16, data_type: DataType) -> Point {
    let address = Address::new(Table::HoldingRegister, offset);
    Point::new(address, data_type, ByteOrder::Abcd, 1.0, 0.0).unwrap()
}

/// One uint16 at each of these holding registers.
fn registers(offsets: impl IntoIterator<Item = u16>) -> Vec<Point> {
    offsets.into_iter().map(|offset| at(offset, DataType::Uint16)).collect()
}

fn driver(device: &Rc<Fake>, points: Vec<Point>) -> TestDriver {
    ModbusDriver::new(Rc::clone(device), 1, points, DriverSettings::default())
}

/// Reads every tag; the readings by tag, each exactly once.
async fn scan(driver: &TestDriver) -> (BTreeMap<u32, Reading>, Result<(), DeviceError>) {
    let tags: Vec<u32> = (0..).take(driver.points.len()).collect();
    let mut out = Vec::new();
    let result = driver.read(&tags, &mut out).await;
    let count = out.len();
    let readings: BTreeMap<u32, Reading> = out.into_iter().map(|reading| (reading.tag, reading)).collect();
    assert_eq!(readings.len(), count, "a tag has one reading");
    (readings, result)
}

/// A scan that isn't cut off, as `value` or `reason` of each tag.
async fn told(driver: &TestDriver) -> Vec<String> {
    let (readings, result) = scan(driver).await;
    assert_eq!(result, Ok(()));
    assert_eq!(readings.len(), driver.points.len(), "every tag has a reading");
    let tell = |reading: &Reading| match reading.quality {
        Quality::Good => reading.value.to_string(),
        _ => format!("{} {}", reading.quality, reading.reason),
    };
    readings.values().map(tell).collect()
}

const REFUSED: &str = "BAD refused by the device with exception 02";

#[tokio::test(start_paused = true)]
async fn all_tables_are_read_each_with_few_requests() {
    let device = Fake::new();
    device.state().held.insert((Table::Coil, 3), 1);
    device.state().held.insert((Table::HoldingRegister, 8), 0b100);
    let mut points = registers([7, 5]);
    for (text, data_type) in [("holding:8.2", "bool"), ("input:9", "int32"), ("coil:3", "bool")] {
        let point = Point::new(text.parse().unwrap(), data_type.parse().unwrap(), ByteOrder::Abcd, 1.0, 0.0);
        points.push(point.unwrap());
    }
    let driver = driver(&device, points);
    assert_eq!(told(&driver).await, ["7", "5", "true", "589834", "true"]);
    assert_eq!(device.requests(), ["1: 3+1", "4: 9+2", "3: 5+4"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_tag_harms_no_other_and_is_asked_again_at_its_time() {
    let device = Fake::new();
    device.state().refused.push((Table::HoldingRegister, 3..4, 2));
    let driver = driver(&device, registers(0..8));
    let mut expected: Vec<String> = (0..8).map(|at| at.to_string()).collect();
    expected[3] = REFUSED.to_owned();
    assert_eq!(told(&driver).await, expected, "in the scan that found it out");
    device.requests();

    for _ in 0..3 {
        assert_eq!(told(&driver).await, expected);
        assert_eq!(device.requests(), ["3: 0+3", "3: 4+4"]);
    }

    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(told(&driver).await, expected, "still refused");
    assert_eq!(device.requests(), ["3: 0+3", "3: 3+1", "3: 4+4"]);

    tokio::time::advance(Duration::from_mins(19)).await;
    told(&driver).await;
    assert_eq!(device.requests(), ["3: 0+3", "3: 4+4"], "the wait has doubled");

    device.state().refused.clear();
    tokio::time::advance(Duration::from_mins(1)).await;
    expected[3] = "3".to_owned();
    assert_eq!(told(&driver).await, expected);
    device.requests();
    assert_eq!(told(&driver).await, expected);
    assert_eq!(device.requests(), ["3: 0+8"]);
}

#[tokio::test(start_paused = true)]
async fn refused_filler_costs_no_tag_its_value() {
    let device = Fake::new();
    device.state().refused.push((Table::HoldingRegister, 4..6, 2));
    let driver = driver(&device, registers([0, 1, 2, 8, 9]));
    let all = ["0", "1", "2", "8", "9"];
    assert_eq!(told(&driver).await, all);
    device.requests();
    assert_eq!(told(&driver).await, all);
    assert_eq!(device.requests(), ["3: 0+3", "3: 8+2"]);
    let learned = driver.learned();
    assert_eq!(learned["tables"]["holding"]["holes"][0]["kind"], "filler");

    device.state().refused.clear();
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(told(&driver).await, all);
    assert_eq!(device.requests(), ["3: 0+10"]);
}

#[tokio::test(start_paused = true)]
async fn the_real_maximum_is_found_without_losing_a_reading() {
    for max in [1, 2, 50, 99, 124] {
        let device = Fake::new();
        device.state().max = Some(max);
        let driver = driver(&device, registers(0..250));
        let expected: Vec<String> = (0..250).map(|at| at.to_string()).collect();
        for _ in 0..12 {
            assert_eq!(told(&driver).await, expected, "maximum {max}");
        }
        device.requests();
        told(&driver).await;
        let requests = device.requests();
        assert_eq!(requests.len(), 250_usize.div_ceil(usize::from(max)), "{requests:?}");
        assert_eq!(requests[0], format!("3: 0+{max}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_boundary_is_no_maximum() {
    let device = Fake::new();
    device.state().boundaries.push(70);
    let driver = driver(&device, registers((0..125).chain(1000..1125)));
    for _ in 0..12 {
        assert!(told(&driver).await.iter().all(|reading| !reading.contains("BAD")));
    }
    device.requests();
    told(&driver).await;
    assert_eq!(device.requests(), ["3: 0+70", "3: 70+55", "3: 1000+125"]);
}

#[tokio::test(start_paused = true)]
async fn a_passing_refusal_teaches_nothing() {
    let device = Fake::new();
    device.state().next.push_back(Err(ExchangeError::Exception(2)));
    let driver = driver(&device, registers([0, 1, 5, 6]));
    assert_eq!(told(&driver).await, ["0", "1", "5", "6"]);
    device.requests();
    told(&driver).await;
    assert_eq!(device.requests(), ["3: 0+7"]);
}

#[tokio::test(start_paused = true)]
async fn a_table_whose_function_is_missing_harms_no_other_table() {
    let device = Fake::new();
    device.state().lacks.insert(3);
    let mut points = registers([0, 500]);
    points.push(Point::new("input:9".parse().unwrap(), DataType::Uint16, ByteOrder::Abcd, 1.0, 0.0).unwrap());
    let driver = driver(&device, points);
    let refused = "BAD refused by the device with exception 01";
    assert_eq!(told(&driver).await, [refused, refused, "9"]);
    assert_eq!(device.requests(), ["4: 9+1", "3: 0+1"], "asked once");
    assert_eq!(told(&driver).await, [refused, refused, "9"]);
    assert_eq!(device.requests(), ["4: 9+1"]);
    device.state().lacks.clear();
    tokio::time::advance(Duration::from_mins(10)).await;
    assert_eq!(told(&driver).await, ["0", "500", "9"]);
}

#[tokio::test(start_paused = true)]
async fn a_device_failure_is_told_and_the_request_repeated_in_the_next_scan() {
    for code in [4, 8] {
        let device = Fake::new();
        device.state().next.push_back(Err(ExchangeError::Exception(code)));
        let driver = driver(&device, registers([0, 1, 500]));
        let refused = format!("BAD refused by the device with exception {code:02X}");
        assert_eq!(told(&driver).await, [refused.as_str(), refused.as_str(), "500"]);
        assert_eq!(told(&driver).await, ["0", "1", "500"]);
        assert_eq!(device.requests().len(), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_is_given_time() {
    for code in [5, 6] {
        let device = Fake::new();
        let driver = driver(&device, registers([0]));
        device.state().next.extend(vec![Err(ExchangeError::Exception(code)); 3]);
        let start = Instant::now();
        assert_eq!(told(&driver).await, ["0"]);
        assert_eq!(start.elapsed(), Duration::from_millis(300));

        device.state().next.extend(vec![Err(ExchangeError::Exception(code)); 4]);
        assert_eq!(told(&driver).await, [format!("BAD refused by the device with exception {code:02X}")]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_reach_the_unit_cuts_the_scan_off() {
    for code in [0x0A, 0x0B] {
        let device = Fake::new();
        device.state().next.push_back(Err(ExchangeError::Exception(code)));
        let driver = driver(&device, registers([0, 500]));
        let (readings, result) = scan(&driver).await;
        assert_eq!(result, Err(DeviceError::UnitUnreachable { unit: 1, code }));
        assert!(readings.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn silence_at_one_address_is_forgiven_where_the_device_is_there() {
    let device = Fake::new();
    device.state().silent.push(std::ops::Range { start: 500, end: 501 });
    let driver = driver(&device, registers([0, 500, 1000]));
    assert_eq!(told(&driver).await, ["0", "BAD no answer in time", "1000"]);
}

#[tokio::test(start_paused = true)]
async fn silence_cuts_a_scan_off_and_the_next_begins_behind_it() {
    let device = Fake::new();
    device.state().silent.push(std::ops::Range { start: 500, end: 501 });
    let driver = driver(&device, registers([500, 1000, 2000]));
    let (readings, result) = scan(&driver).await;
    assert!(matches!(result, Err(DeviceError::Timeout(_))), "nothing answered before: {result:?}");
    assert_eq!(readings.keys().copied().collect::<Vec<_>>(), [0]);
    assert_eq!(readings[&0].reason, Reason::Timeout);
    device.requests();
    assert_eq!(told(&driver).await, ["BAD no answer in time", "1000", "2000"]);
    assert_eq!(device.requests(), ["3: 1000+1", "3: 2000+1", "3: 500+1"]);
}

#[tokio::test(start_paused = true)]
async fn the_scan_after_one_that_could_not_ask_begins_with_what_was_not_asked() {
    let device = Fake::new();
    let driver = driver(&device, registers([0, 500, 1000]));
    let owes = DeviceError::NotAsked(Duration::from_secs(1));
    let first = device.exchange(1, Request::ReadHoldingRegisters(0, 1), Priority::Read).await;
    device.requests();
    device.state().next.extend([first, Err(TIMEOUT), Err(ExchangeError::Device(owes.clone()))]);
    let (readings, result) = scan(&driver).await;
    assert_eq!(result, Err(owes));
    assert_eq!(readings[&2].reason, Reason::Timeout);
    device.requests();
    told(&driver).await;
    assert_eq!(device.requests(), ["3: 1000+1", "3: 0+1", "3: 500+1"]);
}

#[tokio::test(start_paused = true)]
async fn two_silent_requests_in_a_row_cut_a_scan_off() {
    let device = Fake::new();
    device.state().silent.extend([500..501, 1000..1001]);
    let driver = driver(&device, registers([0, 500, 1000, 2000]));
    let (readings, result) = scan(&driver).await;
    assert!(matches!(result, Err(DeviceError::Timeout(_))), "{result:?}");
    assert_eq!(readings.len(), 3);
    device.requests();
    scan(&driver).await.1.unwrap_err();
    assert_eq!(device.requests(), ["3: 2000+1", "3: 0+1", "3: 500+1", "3: 1000+1"], "all were asked for");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_cuts_a_scan_off_at_once() {
    for error in [DeviceError::Offline("x".into()), DeviceError::Busy] {
        let device = Fake::new();
        let driver = driver(&device, registers([0, 500, 1000]));
        device
            .state()
            .next
            .extend([Ok(Response::ReadHoldingRegisters(vec![7])), Err(ExchangeError::Device(error.clone()))]);
        let (readings, result) = scan(&driver).await;
        assert_eq!(result, Err(error));
        assert_eq!(readings.len(), 1, "what was read stays valid");
        assert_eq!(readings[&0].value, Value::Uint(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_answer_costs_its_tags_only() {
    let device = Fake::new();
    let garbled = ExchangeError::Garbled { evidence: "3 bytes".into(), waited: Duration::from_secs(1) };
    device.state().next.push_back(Err(garbled.clone()));
    let driver = driver(&device, registers([0, 500]));
    assert_eq!(told(&driver).await, ["BAD answer not understood", "500"]);
    device.state().next.extend([Err(garbled), Err(TIMEOUT)]);
    assert!(matches!(scan(&driver).await.1, Err(DeviceError::Timeout(_))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_wrong_size_is_evidence_against_the_connection() {
    let device = Fake::new();
    device.state().next.push_back(Ok(Response::ReadHoldingRegisters(vec![1, 2])));
    let driver = driver(&device, registers([0, 500]));
    let (readings, result) = scan(&driver).await;
    let evidence = "function 3 for 1 from 0 was answered with function 3 and 2 registers";
    assert_eq!(result, Err(DeviceError::Transport(evidence.into())));
    assert_eq!(readings[&0].reason, Reason::Garbled);
    device.requests();
    told(&driver).await;
    assert_eq!(device.requests()[0], "3: 500+1", "the next scan begins behind it");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_everything_is_not_asked_without_end() {
    let device = Fake::new();
    device.state().refused.push((Table::HoldingRegister, 0..65536, 2));
    let driver = driver(&device, registers(0..1000));
    let (readings, result) = scan(&driver).await;
    assert_eq!(result, Ok(()));
    assert_eq!(readings.len(), 1000);
    assert!(readings.values().all(|reading| reading.reason == Reason::Refused(2)));
    assert_eq!(device.requests().len(), 8 + 128);
}

/// A device that refuses all of these tags, and is known to.
async fn blind(points: Vec<Point>, refuse: fn(&mut State)) -> (Rc<Fake>, TestDriver) {
    let device = Fake::new();
    refuse(&mut device.state());
    let driver = driver(&device, points);
    let bad = told(&driver).await;
    assert!(bad.iter().all(|told| told.starts_with("BAD refused")), "{bad:?}");
    device.requests();
    (device, driver)
}

fn refuse_holding(state: &mut State) {
    state.refused.push((Table::HoldingRegister, 0..65536, 2));
}

const PROBE: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_everything_is_asked_for_one_place_now_and_then_in_turn() {
    let (device, driver) = blind(registers([0, 500]), refuse_holding).await;
    for expected in ["3: 500+1", "3: 0+1", "3: 500+1"] {
        assert_eq!(told(&driver).await, [REFUSED; 2]);
        assert_eq!(device.requests(), [""; 0], "not in every scan");
        tokio::time::advance(PROBE).await;
        assert_eq!(told(&driver).await, [REFUSED; 2]);
        assert_eq!(device.requests(), [expected]);
    }
    let learned = driver.learned();
    let wait = learned["tables"]["holding"]["holes"][0]["retry_in_seconds"].as_u64().unwrap();
    assert!(wait <= 600, "asking out of turn doubles no wait: {wait}");
}

#[tokio::test(start_paused = true)]
async fn a_device_that_refused_everything_while_it_started_is_read_soon_after() {
    let mut points = registers([0, 500]);
    points.push(Point::new("input:9".parse().unwrap(), DataType::Uint16, ByteOrder::Abcd, 1.0, 0.0).unwrap());
    let starts: [fn(&mut State); 2] = [
        |state| state.lacks.extend([3, 4]),
        |state| {
            refuse_holding(state);
            state.refused.push((Table::InputRegister, 0..65536, 2));
        },
    ];
    for start in starts {
        let (device, driver) = blind(points.clone(), start).await;
        tokio::time::advance(PROBE).await;
        told(&driver).await;
        *device.state() = State::default();
        tokio::time::advance(PROBE).await;
        assert_eq!(told(&driver).await, ["0", "500", "9"], "all tables, in the same scan");
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_that_begins_to_refuse_addresses_is_there() {
    let (device, driver) = blind(registers([0, 500]), |state| state.lacks.extend([3])).await;
    device.state().lacks.clear();
    device.state().refused.push((Table::HoldingRegister, 0..1, 2));
    tokio::time::advance(PROBE).await;
    assert_eq!(told(&driver).await, [REFUSED, "500"]);
}

#[tokio::test(start_paused = true)]
async fn silence_of_a_device_that_refused_everything_is_told_in_every_scan() {
    let (device, driver) = blind(registers([0, 500]), refuse_holding).await;
    device.state().silent.push(0..65536);
    tokio::time::advance(PROBE).await;
    for _ in 0..3 {
        let (readings, result) = scan(&driver).await;
        assert_eq!(result, Err(DeviceError::Timeout(Duration::from_secs(1))));
        assert!(readings.is_empty(), "{readings:?}");
        assert_eq!(device.requests().len(), 1);
    }
    device.state().silent.clear();
    assert_eq!(told(&driver).await, [REFUSED; 2]);
}

#[tokio::test(start_paused = true)]
async fn sets_of_tags_have_their_own_plans_and_few_are_kept() {
    let device = Fake::new();
    let driver = driver(&device, registers(0..40));
    for tag in (0..40).chain([0, 0]) {
        let mut out = Vec::new();
        driver.read(&[tag], &mut out).await.unwrap();
        assert_eq!(out[0].value, Value::Uint(tag.into()));
    }
    assert_eq!(driver.learned()["plans"].as_array().unwrap().len(), MAX_PLANS);
    assert_eq!(driver.learned()["plans"][0]["requests"][0]["start"], 0);
}

#[tokio::test(start_paused = true)]
async fn forgetting_has_everything_asked_again() {
    let device = Fake::new();
    device.state().refused.push((Table::HoldingRegister, 3..4, 2));
    let driver = driver(&device, registers(0..8));
    told(&driver).await;
    driver.forget();
    device.requests();
    told(&driver).await;
    assert_eq!(device.requests()[0], "3: 0+8");
}

#[tokio::test(start_paused = true)]
async fn a_tag_that_does_not_exist_has_a_bad_reading() {
    let driver = driver(&Fake::new(), registers([0]));
    let mut out = Vec::new();
    driver.read(&[7], &mut out).await.unwrap();
    assert_eq!((out[0].tag, out[0].quality), (7, Quality::Bad));
}

#[test]
fn settings_that_make_no_sense_are_named() {
    assert_eq!(DriverSettings::default().validate(), Ok(()));
    let with = |change: fn(&mut DriverSettings)| {
        let mut settings = DriverSettings::default();
        change(&mut settings);
        settings.validate().unwrap_err()
    };
    let error = with(|settings| settings.plan.max_registers_per_request = 126);
    assert_eq!(error.to_string(), "max_registers_per_request must be from 1 to 125, not 126");
    assert_eq!(with(|settings| settings.plan.max_bits_per_request = 0).key, "max_bits_per_request");
    assert_eq!(with(|settings| settings.hole_retry = Duration::ZERO).key, "hole_retry");
    assert_eq!(with(|settings| settings.hole_retry_max = Duration::from_secs(1)).key, "hole_retry_max");
}

fn any_points() -> impl Strategy<Value = Vec<Point>> {
    let types = [DataType::Uint16, DataType::Uint32, DataType::Uint64];
    let point = (0_u16..300, prop::sample::select(types.to_vec())).prop_map(|(offset, of)| at(offset, of));
    prop::collection::vec(point, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_device_refuses_every_readable_tag_is_read_in_every_scan(
        points in any_points(),
        holes in prop::collection::vec((0_u32..300, 1_u32..5, 2_u8..4), 0..6),
        boundaries in prop::collection::vec(0_u32..300, 0..3),
        max in prop::option::of(4_u16..125),
    ) {
        let device = Fake::new();
        {
            let mut state = device.state();
            let hole = |(start, len, code)| (Table::HoldingRegister, start..start + len, code);
            state.refused = holes.into_iter().map(hole).collect();
            state.boundaries = boundaries;
            state.max = max;
        }
        let readable = |point: &Point| {
            let span = point.span();
            let state = device.state();
            let in_hole = state.refused.iter().any(|(_, hole, _)| hole.start < span.end && span.start < hole.end);
            let crosses = state.boundaries.iter().any(|place| span.start < *place && *place < span.end);
            !in_hole && !crosses
        };
        let expected: Vec<bool> = points.iter().map(readable).collect();
        let settings = DriverSettings { max_inquiries_per_scan: 2000, ..DriverSettings::default() };
        let driver = ModbusDriver::new(Rc::clone(&device), 1, points, settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            for round in 0..30 {
                let (readings, result) = scan(&driver).await;
                assert_eq!(result, Ok(()));
                let good: Vec<bool> = readings.values().map(|reading| reading.quality == Quality::Good).collect();
                assert_eq!(good, expected, "scan {round}");
            }
            device.state().refusals = 0;
            scan(&driver).await.1.unwrap();
            assert_eq!(device.state().refusals, 0, "by now nothing is asked for that is refused");
        });
    }
}
