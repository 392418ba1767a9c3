use std::time::Duration;

use bifrost_model::{Quality, Reason, Value};
use proptest::prelude::*;

use super::*;

/// Seconds, as scans have them.
fn at(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "tests use small numbers")]
    Timestamp::from_micros(1_769_860_800_000_000 + (seconds * 1e6).round() as i64)
}

fn good(value: Value) -> Reading {
    Reading { tag: 0, quality: Quality::Good, reason: Reason::None, value }
}

fn bad(reason: Reason) -> Reading {
    Reading { tag: 0, quality: Quality::Bad, reason, value: Value::Null }
}

fn thinner(settings: &DownsampleSettings) -> Thinner {
    Thinner::new(Rules::new(settings).unwrap(), 2)
}

/// What goes out of a series of scans, each with its second; the number of a scan is its place.
fn run(thinner: &mut Thinner, scans: &[(f64, Reading)]) -> Vec<(f64, Value)> {
    let mut out = Vec::new();
    for (seq, (second, reading)) in scans.iter().enumerate() {
        let mut earlier = Vec::new();
        let passes = thinner.take(reading, seq as u64, at(*second), &mut earlier);
        thinner.sweep(at(*second), &mut earlier);
        for point in earlier {
            assert_eq!(point.at, at(scans[usize::try_from(point.seq).unwrap()].0), "its own scan's time");
            out.push((scans[usize::try_from(point.seq).unwrap()].0, point.reading.value));
        }
        out.extend(passes.then(|| (*second, reading.value.clone())));
    }
    out
}

/// The same for good numbers, one a second.
fn numbers(settings: &DownsampleSettings, values: &[f64]) -> Vec<(f64, f64)> {
    let scans: Vec<_> =
        (0..).zip(values).map(|(second, n)| (f64::from(second), good(Value::Float64(*n)))).collect();
    let out = run(&mut thinner(settings), &scans).into_iter();
    out.map(|(second, value)| (second, value.as_f64().unwrap())).collect()
}

fn deadband(deadband: f64) -> DownsampleSettings {
    DownsampleSettings { deadband: Some(deadband), ..DownsampleSettings::default() }
}

fn door(width: f64) -> DownsampleSettings {
    DownsampleSettings { swinging_door: Some(width), ..DownsampleSettings::default() }
}

fn every(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn nothing_is_remembered_where_nothing_is_left_out() {
    assert_eq!(Rules::new(&DownsampleSettings::default()), None);
    let longest = DownsampleSettings { max_interval: Some(every(5)), ..DownsampleSettings::default() };
    assert_eq!(Rules::new(&longest), None);
}

#[test]
fn a_deadband_is_measured_from_what_was_sent_last() {
    let sent = numbers(&deadband(0.5), &[10.0, 10.25, 10.375, 10.5, 10.75, 9.75, 9.75]);
    assert_eq!(sent, [(0.0, 10.0), (3.0, 10.5), (5.0, 9.75)]);
}

#[test]
fn a_deadband_of_zero_sends_every_change() {
    assert_eq!(numbers(&deadband(0.0), &[1.0, 1.0, 2.0, 2.0]), [(0.0, 1.0), (2.0, 2.0)]);
    let large = [u64::MAX, u64::MAX, u64::MAX - 1].map(|n| (0.0, good(Value::Uint(n))));
    assert_eq!(run(&mut thinner(&deadband(0.0)), &large).len(), 2);
}

#[test]
fn what_is_no_number_goes_out_when_it_changes() {
    let scans = ["a", "a", "b", "b", "a"].map(|text| good(Value::Text(text.into())));
    let scans: Vec<_> = (0..).map(f64::from).zip(scans).collect();
    for settings in [deadband(5.0), door(5.0)] {
        let seconds: Vec<_> =
            run(&mut thinner(&settings), &scans).into_iter().map(|(second, _)| second).collect();
        assert_eq!(seconds, [0.0, 2.0, 4.0]);
    }
}

#[test]
fn a_change_of_quality_is_never_held_back() {
    let scans = [
        (0.0, good(Value::Int(1))),
        (0.1, bad(Reason::Timeout)),
        (0.2, bad(Reason::Timeout)),
        (0.3, bad(Reason::Disconnected)),
        (0.4, good(Value::Int(1))),
        (0.5, good(Value::Int(1))),
    ];
    let slow = DownsampleSettings { min_interval: Some(every(3600)), ..DownsampleSettings::default() };
    for settings in [deadband(100.0), door(100.0), slow] {
        let seconds: Vec<_> =
            run(&mut thinner(&settings), &scans).into_iter().map(|(second, _)| second).collect();
        assert_eq!(seconds, [0.0, 0.1, 0.3, 0.4], "{settings:?}");
    }
}

#[test]
fn a_line_ends_before_a_change_of_quality() {
    let mut scans: Vec<_> = (0..10).map(|n| (f64::from(n), good(Value::Int(i64::from(n))))).collect();
    scans.push((10.0, bad(Reason::Timeout)));
    let sent = run(&mut thinner(&door(0.1)), &scans);
    assert_eq!(sent, [(0.0, Value::Int(0)), (9.0, Value::Int(9)), (10.0, Value::Null)]);
}

#[test]
fn nothing_goes_out_more_often_than_the_shortest_interval() {
    let settings = DownsampleSettings { min_interval: Some(every(3)), ..DownsampleSettings::default() };
    let sent = numbers(&settings, &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(sent, [(0.0, 0.0), (3.0, 3.0), (6.0, 6.0)]);
    let settings = DownsampleSettings { min_interval: Some(every(3)), ..deadband(1.5) };
    let sent = numbers(&settings, &[0.0, 9.0, 9.0, 9.0, 9.5, 9.0, 0.0, 9.0]);
    assert_eq!(sent, [(0.0, 0.0), (3.0, 9.0), (6.0, 0.0)]);
}

#[test]
fn the_last_value_within_the_shortest_interval_goes_out_after_it_though_its_tag_is_read_no_more() {
    let settings = DownsampleSettings { min_interval: Some(every(3)), ..DownsampleSettings::default() };
    let mut thinner = thinner(&settings);
    let first = [(0.0, good(Value::Int(1))), (1.0, good(Value::Int(2))), (2.0, good(Value::Int(3)))];
    assert_eq!(run(&mut thinner, &first).len(), 1);
    let mut earlier = Vec::new();
    thinner.sweep(at(2.5), &mut earlier);
    assert_eq!(earlier, []);
    thinner.sweep(at(3.0), &mut earlier);
    assert_eq!(earlier, [Point { reading: good(Value::Int(3)), seq: 2, at: at(2.0) }]);
    thinner.sweep(at(9.0), &mut earlier);
    assert_eq!(earlier.len(), 1);
    assert_eq!(thinner.left_out(), 1);
}

#[test]
fn a_value_that_goes_back_to_what_was_sent_is_no_news() {
    let settings = DownsampleSettings { min_interval: Some(every(3)), ..deadband(1.0) };
    assert_eq!(numbers(&settings, &[0.0, 5.0, 0.0, 0.0, 0.0, 0.0]), [(0.0, 0.0)]);
}

#[test]
fn after_the_longest_interval_it_goes_out_though_nothing_moved() {
    let settings = DownsampleSettings { max_interval: Some(every(3)), ..deadband(100.0) };
    let seconds: Vec<_> = numbers(&settings, &[1.0; 8]).into_iter().map(|(second, _)| second).collect();
    assert_eq!(seconds, [0.0, 3.0, 6.0]);
    let settings = DownsampleSettings { max_interval: Some(every(3)), ..door(100.0) };
    let seconds: Vec<_> = numbers(&settings, &[1.0; 8]).into_iter().map(|(second, _)| second).collect();
    assert_eq!(seconds, [0.0, 3.0, 6.0]);
}

#[test]
fn a_line_whose_tag_is_read_no_more_ends_after_the_longest_interval() {
    let mut thinner = thinner(&DownsampleSettings { max_interval: Some(every(10)), ..door(1.0) });
    run(&mut thinner, &[(0.0, good(Value::Int(0))), (1.0, good(Value::Int(50)))]);
    let mut earlier = Vec::new();
    thinner.sweep(at(9.9), &mut earlier);
    assert_eq!(earlier, []);
    thinner.sweep(at(10.0), &mut earlier);
    assert_eq!(earlier, [Point { reading: good(Value::Int(50)), seq: 1, at: at(1.0) }]);
}

#[test]
fn a_clock_that_jumps_an_hour_back_silences_no_tag() {
    let limits = DownsampleSettings {
        min_interval: Some(every(2)),
        max_interval: Some(every(5)),
        ..DownsampleSettings::default()
    };
    for settings in [
        DownsampleSettings { deadband: Some(100.0), ..limits.clone() },
        DownsampleSettings { swinging_door: Some(100.0), ..limits.clone() },
        limits,
    ] {
        let mut scans: Vec<_> = (0..3).map(|n| (f64::from(n), good(Value::Int(1)))).collect();
        scans.extend((0..8).map(|n| (f64::from(n) - 3600.0, good(Value::Int(1)))));
        let sent = run(&mut thinner(&settings), &scans);
        let back: Vec<_> =
            sent.iter().map(|(second, _)| second + 3600.0).filter(|second| *second < 8.0).collect();
        assert_eq!(back.first(), Some(&0.0), "{settings:?}: {sent:?}");
        assert!(back.len() >= 2, "{settings:?}: {sent:?}");
    }
}

#[test]
fn what_is_held_back_of_another_tag_goes_out_when_the_clock_jumps_back() {
    let mut thinner =
        thinner(&DownsampleSettings { min_interval: Some(every(2)), ..DownsampleSettings::default() });
    run(&mut thinner, &[(0.0, good(Value::Int(1))), (1.0, good(Value::Int(2)))]);
    let mut earlier = Vec::new();
    thinner.sweep(at(-3600.0), &mut earlier);
    assert_eq!(earlier.len(), 1);
}

#[test]
fn a_ramp_is_two_points_and_what_follows_closes_the_door() {
    let mut values: Vec<_> = (0..=100).map(|n| f64::from(n) * 0.5).collect();
    values.extend([50.0; 50]);
    values.push(0.0);
    let sent = numbers(&door(0.2), &values);
    assert_eq!(sent, [(0.0, 0.0), (100.0, 50.0), (150.0, 50.0)]);
}

#[test]
fn two_scans_at_the_same_moment_and_the_largest_numbers_break_no_door() {
    let scans: Vec<_> = [0.0, 0.0, 1.0, 1.0, 2.0]
        .into_iter()
        .zip([1e308, -1e308, 1e308, -1e308, 0.0])
        .map(|(second, number)| (second, good(Value::Float64(number))))
        .collect();
    assert!(run(&mut thinner(&door(1e300)), &scans).len() <= scans.len());
}

#[test]
fn what_is_let_go_and_what_is_left_out_are_all_there_was() {
    let settings = DownsampleSettings { min_interval: Some(every(2)), ..door(0.5) };
    let mut thinner = thinner(&settings);
    let scans: Vec<_> = (0..40).map(|n| (f64::from(n), good(Value::Int(i64::from(n * n % 7))))).collect();
    let sent = run(&mut thinner, &scans).len();
    let mut earlier = Vec::new();
    thinner.let_go(&mut earlier);
    assert_eq!(sent + earlier.len() + usize::try_from(thinner.left_out()).unwrap(), scans.len());
}

#[test]
fn a_reading_of_an_unknown_tag_does_not_pass() {
    let reading = Reading { tag: 7, ..good(Value::Int(1)) };
    assert!(!thinner(&deadband(1.0)).take(&reading, 1, at(0.0), &mut Vec::new()));
}

proptest! {
    #[test]
    fn a_line_through_what_was_sent_is_never_off_by_more_than_the_door_is_wide(
        steps in prop::collection::vec((1_u32..5_000, -10.0_f64..10.0), 1..200),
        width in 0.0_f64..8.0,
    ) {
        let (mut second, mut value) = (0.0, 0.0);
        let series: Vec<_> = steps
            .iter()
            .map(|(millis, step)| {
                second += f64::from(*millis) / 1e3;
                value += step;
                (second, value)
            })
            .collect();
        let scans: Vec<_> = series.iter().map(|(second, n)| (*second, good(Value::Float64(*n)))).collect();
        let mut thinner = thinner(&door(width));
        let mut sent: Vec<_> = run(&mut thinner, &scans).into_iter().map(|(s, v)| (s, v.as_f64().unwrap())).collect();
        let mut held = Vec::new();
        thinner.let_go(&mut held);
        sent.extend(held.into_iter().map(|point| series[usize::try_from(point.seq).unwrap()]));
        prop_assert!(sent.is_sorted_by(|a, b| a.0 < b.0));
        for (second, value) in &series {
            let next = sent.iter().position(|(s, _)| s >= second).unwrap();
            let (to, from) = (sent[next], sent[next.saturating_sub(1)]);
            let part = if to.0 > from.0 { (second - from.0) / (to.0 - from.0) } else { 1.0 };
            let line = from.1 + (to.1 - from.1) * part;
            prop_assert!((line - value).abs() <= width + 1e-6, "{value} at {second}: {line}");
        }
    }

    #[test]
    fn a_deadband_leaves_out_nothing_that_moved_so_far(values in prop::collection::vec(-10.0_f64..10.0, 1..100)) {
        let sent = numbers(&deadband(2.0), &values);
        let mut last = sent.iter().peekable();
        let mut current = values[0];
        for (second, value) in (0..).map(f64::from).zip(&values) {
            if let Some((_, value)) = last.next_if(|(at, _)| *at <= second) {
                current = *value;
            }
            prop_assert!((value - current).abs() < 2.0);
        }
    }
}
