//! Whatever a device holds can be read, and what is read can be written back to the same registers.
#![no_main]

use arbitrary::Arbitrary;
use bifrost_drivers::modbus::{ByteOrder, Point, decode, encode};
use bifrost_model::{DataType, Quality};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    kind: u8,
    order: u8,
    scale: f64,
    offset: f64,
    registers: Vec<u16>,
}

fuzz_target!(|input: Input| {
    let types = [
        DataType::Int16,
        DataType::Uint16,
        DataType::Int32,
        DataType::Uint32,
        DataType::Int64,
        DataType::Uint64,
        DataType::Float32,
        DataType::Float64,
        DataType::String(u16::from(input.kind).max(1)),
    ];
    let orders = [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba];
    let data_type = types[usize::from(input.kind) % types.len()];
    let order = orders[usize::from(input.order) % orders.len()];
    let Ok(address) = "holding:0".parse() else { return };
    let text = matches!(data_type, DataType::String(_));
    let (scale, offset) = if text { (1.0, 0.0) } else { (input.scale, input.offset) };
    let Ok(point) = Point::new(address, data_type, order, scale, offset) else { return };
    let (value, quality, _) = decode(&point, &input.registers);
    let exact = scale == 1.0 && offset == 0.0 && !text;
    let encoded = encode(&point, &value);
    if exact && quality == Quality::Good && input.registers.len() == usize::from(point.count()) {
        assert_eq!(encoded.ok().as_deref(), Some(&*input.registers));
    }
});
