//! Known vectors, refusals, and properties over every type, order and scale.

use proptest::prelude::*;

use super::*;
use crate::modbus::{Address, ByteOrder, Table};

const LONG_ORDERS: [ByteOrder; 4] = [ByteOrder::Abcd, ByteOrder::Cdab, ByteOrder::Badc, ByteOrder::Dcba];
const SCALES: [(f64, f64); 7] =
    [(1.0, 0.0), (0.1, 0.0), (0.1, -40.0), (2.5, 0.5), (-0.01, 3.0), (10.0, 0.0), (0.123_456_789_01, 7.7)];

fn point(data_type: &str, order: ByteOrder, scale: f64, offset: f64) -> Point {
    let data_type: DataType = data_type.parse().unwrap();
    let address = Address::new(Table::HoldingRegister, 0);
    let address = if data_type == DataType::Bool { address.with_bit(3) } else { address };
    Point::new(address, data_type, order, scale, offset).unwrap()
}

fn plain(data_type: &str) -> Point {
    point(data_type, ByteOrder::Abcd, 1.0, 0.0)
}

fn good(point: &Point, registers: &[u16]) -> Value {
    let (value, quality, reason) = decode(point, registers);
    assert_eq!((quality, reason), (Quality::Good, Reason::None), "{registers:04X?}");
    value
}

/// Decodes to the value, and encodes back to the same registers.
fn both_ways(point: &Point, registers: &[u16], value: &Value) {
    assert_eq!(&good(point, registers), value, "{point:?} {registers:04X?}");
    assert_eq!(encode(point, value).unwrap(), registers, "{point:?} {value}");
}

#[test]
fn thirty_two_bits_in_every_order() {
    for (order, registers) in [
        (ByteOrder::Abcd, [0x0A0B, 0x0C0D]),
        (ByteOrder::Cdab, [0x0C0D, 0x0A0B]),
        (ByteOrder::Badc, [0x0B0A, 0x0D0C]),
        (ByteOrder::Dcba, [0x0D0C, 0x0B0A]),
    ] {
        both_ways(&point("uint32", order, 1.0, 0.0), &registers, &Value::Uint(0x0A0B_0C0D));
    }
}

#[test]
fn sixty_four_bits_in_every_order() {
    for (order, registers) in [
        (ByteOrder::Abcd, [0x0102, 0x0304, 0x0506, 0x0708]),
        (ByteOrder::Cdab, [0x0708, 0x0506, 0x0304, 0x0102]),
        (ByteOrder::Badc, [0x0201, 0x0403, 0x0605, 0x0807]),
        (ByteOrder::Dcba, [0x0807, 0x0605, 0x0403, 0x0201]),
    ] {
        both_ways(&point("uint64", order, 1.0, 0.0), &registers, &Value::Uint(0x0102_0304_0506_0708));
    }
}

#[test]
fn sixteen_bits_and_texts_know_only_the_order_in_the_register() {
    for order in ByteOrder::ALL {
        let swapped = order.swaps_bytes();
        let register = if swapped { 0x0201 } else { 0x0102 };
        both_ways(&point("uint16", order, 1.0, 0.0), &[register], &Value::Uint(0x0102));
        let registers = if swapped { [0x6548, 0x796C] } else { [0x4865, 0x6C79] };
        both_ways(&point("string(4)", order, 1.0, 0.0), &registers, &Value::Text("Hely".into()));
    }
}

#[test]
fn floats_are_ieee_754() {
    both_ways(&plain("float32"), &[0x41CB, 0x3333], &Value::Float32(25.4));
    both_ways(&point("float32", ByteOrder::Cdab, 1.0, 0.0), &[0x3333, 0x41CB], &Value::Float32(25.4));
    both_ways(&plain("float64"), &[0x4039, 0x6666, 0x6666, 0x6666], &Value::Float64(25.4));
}

#[test]
fn negative_numbers_are_two_s_complement() {
    both_ways(&plain("int16"), &[0xFFFE], &Value::Int(-2));
    both_ways(&plain("int32"), &[0xFFFF, 0xFFFE], &Value::Int(-2));
    both_ways(&plain("int64"), &[0x8000, 0, 0, 0], &Value::Int(i64::MIN));
}

#[test]
fn the_largest_integers_keep_every_digit() {
    both_ways(&plain("uint64"), &[0xFFFF; 4], &Value::Uint(u64::MAX));
    both_ways(&plain("int64"), &[0x7FFF, 0xFFFF, 0xFFFF, 0xFFFF], &Value::Int(i64::MAX));
}

#[test]
fn a_scaled_integer_has_the_digits_that_people_expect() {
    both_ways(&point("int16", ByteOrder::Abcd, 0.1, 0.0), &[254], &Value::Float64(25.4));
    both_ways(&point("uint32", ByteOrder::Abcd, 0.001, 0.0), &[0, 1234], &Value::Float64(1.234));
    both_ways(&point("float32", ByteOrder::Abcd, 0.1, 0.0), &[0x437E, 0], &Value::Float32(25.4));
}

#[test]
fn a_bit_is_counted_from_the_least_significant() {
    let bit = plain("bool");
    assert_eq!(good(&bit, &[0b1000]), Value::Bool(true));
    assert_eq!(good(&bit, &[!0b1000]), Value::Bool(false));
    assert_eq!(encode(&bit, &Value::Bool(true)).unwrap(), [1]);
}

#[test]
fn a_bit_of_a_byte_swapped_register_is_where_its_number_would_have_it() {
    let bit = point("bool", ByteOrder::Ba, 1.0, 0.0);
    let number = point("uint16", ByteOrder::Ba, 1.0, 0.0);
    assert_eq!(good(&number, &[0x0800]), Value::Uint(8));
    assert_eq!(good(&bit, &[0x0800]), Value::Bool(true));
}

#[test]
fn coils_are_one_register_of_zero_or_one() {
    let coil = Point::new(Address::new(Table::Coil, 0), DataType::Bool, ByteOrder::Abcd, 1.0, 0.0).unwrap();
    both_ways(&coil, &[1], &Value::Bool(true));
    both_ways(&coil, &[0], &Value::Bool(false));
}

#[test]
fn what_is_not_finite_is_bad_and_null() {
    let bad = (Value::Null, Quality::Bad, Reason::NotANumber);
    for registers in [[0x7FC0, 0], [0x7F80, 0], [0xFF80, 0]] {
        assert_eq!(decode(&plain("float32"), &registers), bad);
        assert_eq!(decode(&point("float32", ByteOrder::Abcd, 0.1, 0.0), &registers), bad);
    }
    assert_eq!(decode(&plain("float64"), &[0x7FF8, 0, 0, 0]), bad);
    // The largest float32, ten times.
    assert_eq!(decode(&point("float32", ByteOrder::Abcd, 10.0, 0.0), &[0x7F7F, 0xFFFF]), bad);
}

#[test]
fn a_text_ends_at_its_first_nul_or_its_last_byte() {
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(good(&plain("string(6)"), &[0x4142, 0x0043, 0x4445]), text("AB"));
    assert_eq!(good(&plain("string(3)"), &[0x4142, 0x4344]), text("ABC"));
    assert_eq!(good(&plain("string(2)"), &[0]), text(""));
    both_ways(&plain("string(6)"), &[0xC3A4, 0x4100, 0], &text("äA"));
}

#[test]
fn a_text_that_is_not_utf_8_is_uncertain() {
    let (value, quality, reason) = decode(&plain("string(4)"), &[0x41FF, 0x4200]);
    assert_eq!(value, Value::Text("A\u{FFFD}B".into()));
    assert_eq!((quality, reason), (Quality::Uncertain, Reason::NotText));
}

#[test]
fn too_few_registers_are_garbled() {
    assert_eq!(decode(&plain("float32"), &[1]), (Value::Null, Quality::Bad, Reason::Garbled));
    assert_eq!(decode(&plain("bool"), &[]), (Value::Null, Quality::Bad, Reason::Garbled));
}

#[test]
fn refusals_name_the_value_and_what_would_fit() {
    for (point, value, part) in [
        (plain("int16"), Value::Int(32768), "32768 is out of range: int16 holds -32768 to 32767"),
        (plain("uint16"), Value::Int(-1), "holds 0 to 65535"),
        (plain("uint64"), Value::Float64(2e19), "out of range"),
        (plain("int64"), Value::Uint(u64::MAX), "out of range"),
        (point("int16", ByteOrder::Abcd, 0.1, 0.0), Value::Int(5000), "holds -3276.8 to 3276.7"),
        (point("int16", ByteOrder::Abcd, -1.0, 0.0), Value::Int(32769), "holds -32767 to 32768"),
        (plain("float32"), Value::Float64(1e39), "out of range"),
        (plain("int32"), Value::Float64(1.5), "1.5 has a fraction"),
        (plain("int32"), Value::Float64(f64::NAN), "not a finite number"),
        (point("float64", ByteOrder::Abcd, 0.1, 0.0), Value::Float64(f64::MAX), "not a finite number"),
        (plain("int16"), Value::Text("1".into()), "1 can't be stored as int16"),
        (plain("int16"), Value::Null, "can't be stored"),
        (plain("bool"), Value::Int(1), "1 can't be stored as bool"),
        (plain("string(4)"), Value::Int(1), "can't be stored as string(4)"),
        (plain("string(4)"), Value::Text("12345".into()), "has 5 bytes, and the device holds 4"),
        (plain("string(4)"), Value::Text("a\0b".into()), "NUL"),
    ] {
        let error = encode(&point, &value).unwrap_err().to_string();
        assert!(error.contains(part), "{error} should contain {part}");
    }
}

#[test]
fn a_whole_number_may_come_as_a_float_and_a_scaled_one_is_rounded() {
    assert_eq!(encode(&plain("int16"), &Value::Float64(-2.0)).unwrap(), [0xFFFE]);
    assert_eq!(encode(&plain("uint16"), &Value::Float32(7.0)).unwrap(), [7]);
    assert_eq!(encode(&point("int16", ByteOrder::Abcd, 0.1, 0.0), &Value::Float64(25.44)).unwrap(), [254]);
    assert_eq!(encode(&point("int16", ByteOrder::Abcd, 10.0, 0.0), &Value::Int(26)).unwrap(), [3]);
}

fn any_point() -> impl Strategy<Value = Point> {
    let types = ["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"];
    (prop::sample::select(types.to_vec()), prop::sample::select(LONG_ORDERS.to_vec()), 0..SCALES.len())
        .prop_map(|(data_type, order, scale)| point(data_type, order, SCALES[scale].0, SCALES[scale].1))
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::Uint),
        any::<u32>().prop_map(|bits| Value::Float32(f32::from_bits(bits))),
        any::<u64>().prop_map(|bits| Value::Float64(f64::from_bits(bits))),
        any::<String>().prop_map(|text| Value::Text(text.into())),
    ]
}

/// Whether every step of the device can be told apart in binary64 after scaling.
fn is_lossless(point: &Point) -> bool {
    point.linear().is_none() || point.count() <= 2 && point.data_type() != DataType::Float32
}

proptest! {
    #[test]
    fn what_was_read_is_written_back_to_the_same_registers(
        point in any_point().prop_filter("lossless", is_lossless),
        registers: [u16; 4],
    ) {
        let registers = &registers[..usize::from(point.count())];
        let (value, quality, _) = decode(&point, registers);
        prop_assume!(quality == Quality::Good);
        prop_assert_eq!(encode(&point, &value).unwrap(), registers);
    }

    #[test]
    fn what_was_written_reads_back_as_near_as_the_device_can_hold_it(
        point in any_point(),
        steps in -30_000_i32..30_000,
    ) {
        let value = point.scale() * f64::from(steps) + point.offset();
        let unsigned = [DataType::Uint16, DataType::Uint32, DataType::Uint64].contains(&point.data_type());
        prop_assume!(!unsigned || steps >= 0);
        let integral = point.linear().is_none();
        let written = if integral { Value::Int(i64::from(steps)) } else { Value::Float64(value) };
        let registers = encode(&point, &written).unwrap();
        let read = good(&point, &registers).as_f64().unwrap();
        prop_assert!((read - value).abs() <= 1e-6 * value.abs().max(1.0), "{} became {}", value, read);
    }

    #[test]
    fn every_text_that_fits_comes_back(text in "[^\0]{0,20}", swapped: bool) {
        let order = if swapped { ByteOrder::Ba } else { ByteOrder::Ab };
        let point = point("string(80)", order, 1.0, 0.0);
        let value = Value::Text(text.into());
        let registers = encode(&point, &value).unwrap();
        prop_assert_eq!(registers.len(), 40);
        prop_assert_eq!(good(&point, &registers), value);
    }

    #[test]
    fn no_value_makes_the_encoder_panic_and_all_it_accepts_has_the_right_length(
        point in any_point(),
        value in any_value(),
    ) {
        if let Ok(registers) = encode(&point, &value) {
            prop_assert_eq!(registers.len(), usize::from(point.count()));
        }
    }

    #[test]
    fn no_registers_make_the_decoder_panic_and_numbers_are_finite(
        point in any_point(),
        registers in prop::collection::vec(any::<u16>(), 0..8),
        text_length in 1_u16..250,
    ) {
        let (value, quality, _) = decode(&point, &registers);
        prop_assert_eq!(value.is_null(), quality == Quality::Bad);
        prop_assert!(value.as_f64().is_none_or(f64::is_finite));
        decode(&super::tests::point(&format!("string({text_length})"), ByteOrder::Ba, 1.0, 0.0), &registers);
    }
}
