//! Examples of plans, and what holds of every plan.

use bifrost_model::DataType;
use proptest::prelude::*;

use super::*;
use crate::modbus::{Address, ByteOrder};

fn point(text: &str) -> Point {
    let (address, data_type) = text.split_once(' ').unwrap();
    Point::new(address.parse().unwrap(), data_type.parse().unwrap(), ByteOrder::Abcd, 1.0, 0.0).unwrap()
}

fn planned(points: &[&str], settings: &PlanSettings, constraints: &Constraints) -> Vec<String> {
    let points: Vec<Point> = points.iter().map(|text| point(text)).collect();
    let indices: Vec<u32> = (0..).take(points.len()).collect();
    let plan = plan(&points, &indices, settings, constraints);
    let requests = plan.requests.iter();
    let requests =
        requests.map(|read| format!("{}:{}+{} {:?}", read.table, read.start, read.count, read.members));
    let refused = plan.refused.iter().map(|(index, code)| format!("refused {index} {code}"));
    requests.chain(refused).collect()
}

fn settings(max_registers_per_request: u16, max_gap: u16) -> PlanSettings {
    PlanSettings { max_registers_per_request, max_gap, ..PlanSettings::default() }
}

fn holding_holes(holes: &[Range<u32>]) -> Constraints {
    let mut constraints = Constraints::default();
    constraints[Table::HoldingRegister.index()].holes = holes.to_vec();
    constraints
}

#[test]
fn neighbours_share_a_request_and_tables_do_not() {
    let points = ["holding:2 int16", "holding:0 float32", "input:3 int16", "coil:5 bool", "discrete:5 bool"];
    assert_eq!(
        planned(&points, &PlanSettings::default(), &Constraints::default()),
        ["coil:5+1 [3]", "discrete:5+1 [4]", "input:3+1 [2]", "holding:0+3 [1, 0]"]
    );
}

#[test]
fn bits_of_a_register_share_it() {
    let points = ["holding:7.0 bool", "holding:7.15 bool", "holding:7 uint16"];
    assert_eq!(planned(&points, &settings(1, 0), &Constraints::default()), ["holding:7+1 [0, 1, 2]"]);
}

#[test]
fn a_gap_is_read_along_up_to_the_setting() {
    let points = ["holding:0 int16", "holding:9 int16", "holding:19 int16"];
    assert_eq!(
        planned(&points, &settings(125, 8), &Constraints::default()),
        ["holding:0+10 [0, 1]", "holding:19+1 [2]"]
    );
    let bits = ["coil:0 bool", "coil:129 bool", "coil:259 bool"];
    assert_eq!(
        planned(&bits, &settings(125, 8), &Constraints::default()),
        ["coil:0+130 [0, 1]", "coil:259+1 [2]"]
    );
}

#[test]
fn no_point_is_split_over_two_requests() {
    let points = ["holding:0 int16", "holding:1 float64", "holding:5 float64"];
    assert_eq!(
        planned(&points, &settings(7, 8), &Constraints::default()),
        ["holding:0+5 [0, 1]", "holding:5+4 [2]"]
    );
}

#[test]
fn a_point_larger_than_the_cap_has_its_own_request() {
    let points = ["holding:0 int16", "holding:1 float64", "holding:5 int16"];
    assert_eq!(
        planned(&points, &settings(2, 8), &Constraints::default()),
        ["holding:0+1 [0]", "holding:1+4 [1]", "holding:5+1 [2]"]
    );
}

#[test]
fn no_request_crosses_a_hole_or_a_boundary() {
    let points = ["holding:0 int16", "holding:2 int16", "holding:3 int16", "holding:4 int16"];
    let constraints = holding_holes(&[1..2, 3..3]);
    assert_eq!(
        planned(&points, &PlanSettings::default(), &constraints),
        ["holding:0+1 [0]", "holding:2+1 [1]", "holding:3+2 [2, 3]"]
    );
}

#[test]
fn a_point_in_a_hole_is_asked_for_alone() {
    let points = ["holding:0 int16", "holding:1 int16", "holding:1.3 bool", "holding:2 int16"];
    assert_eq!(
        planned(&points, &PlanSettings::default(), &holding_holes(std::slice::from_ref(&(1..2)))),
        ["holding:0+1 [0]", "holding:1+1 [1, 2]", "holding:2+1 [3]"]
    );
}

#[test]
fn a_point_that_was_refused_is_not_asked_for() {
    let points = ["holding:0 int16", "holding:1 int16", "holding:1 int32", "holding:2 int16"];
    let mut constraints = holding_holes(std::slice::from_ref(&(1..2)));
    constraints[Table::HoldingRegister.index()].refused = vec![(1..2, 2)];
    assert_eq!(
        planned(&points, &PlanSettings::default(), &constraints),
        ["holding:0+1 [0]", "holding:2+1 [3]", "refused 1 2", "refused 2 2"]
    );
}

#[test]
fn part_of_what_was_refused_may_still_be_readable() {
    let points = ["holding:0 int32", "holding:0 int16"];
    let mut constraints = holding_holes(std::slice::from_ref(&(0..2)));
    constraints[Table::HoldingRegister.index()].refused = vec![(0..2, 3)];
    assert_eq!(planned(&points, &PlanSettings::default(), &constraints), ["holding:0+1 [1]", "refused 0 3"]);
}

#[test]
fn a_learned_maximum_counts_beside_the_setting() {
    let points = ["holding:0 int16", "holding:1 int16", "holding:2 int16"];
    let mut constraints = Constraints::default();
    constraints[Table::HoldingRegister.index()].max_count = Some(2);
    assert_eq!(
        planned(&points, &PlanSettings::default(), &constraints),
        ["holding:0+2 [0, 1]", "holding:2+1 [2]"]
    );
}

#[test]
fn indices_without_a_point_are_told() {
    let plan = plan(&[], &[4], &PlanSettings::default(), &Constraints::default());
    assert_eq!(plan.unknown, [4]);
}

#[test]
fn ten_thousand_points_are_planned_and_the_ends_of_the_table_are_reached() {
    let at = |offset: u16| Address::new(Table::HoldingRegister, offset);
    let of = |offset| Point::new(at(offset), DataType::Uint16, ByteOrder::Abcd, 1.0, 0.0).unwrap();
    let points: Vec<Point> = (0..10_000).rev().map(|step: u16| of(step * 6 + 5541)).collect();
    let indices: Vec<u32> = (0..10_000).collect();
    let plan = plan(&points, &indices, &PlanSettings::default(), &Constraints::default());
    assert_eq!(plan.requests.len(), 477, "21 points in each request");
    assert_eq!(plan.requests.iter().map(|read| read.members.len()).sum::<usize>(), 10_000);
}

fn any_point() -> impl Strategy<Value = Point> {
    let registers = ["int16", "int32", "float64", "string(20)", "bool"];
    (0_usize..4, 0_u16..400, prop::sample::select(registers.to_vec()), 0_u8..16).prop_map(
        |(table, offset, data_type, bit)| {
            let address = Address::new(Table::ALL[table], offset);
            let (address, data_type) = match (address.table.is_bits(), data_type) {
                (true, _) => (address, "bool"),
                (false, "bool") => (address.with_bit(bit), "bool"),
                (false, other) => (address, other),
            };
            Point::new(address, data_type.parse().unwrap(), ByteOrder::Abcd, 1.0, 0.0).unwrap()
        },
    )
}

prop_compose! {
    fn any_constraints()(
        holes in prop::collection::vec((0_u32..400, 0_u32..6), 0..12),
        max_count in prop::option::of(1_u16..200),
    ) -> TableConstraints {
        let mut holes: Vec<Range<u32>> = holes.into_iter().map(|(start, len)| start..start + len).collect();
        holes.sort_by_key(|hole| (hole.start, hole.end));
        let refused = holes.iter().filter(|hole| hole.len() == 2).map(|hole| (hole.clone(), 2)).collect();
        TableConstraints { all: None, max_count, holes, refused }
    }
}

fn touches(request: &Range<u32>, hole: &Range<u32>) -> bool {
    if hole.is_empty() {
        request.start < hole.start && hole.start < request.end
    } else {
        hole.start < request.end && request.start < hole.end
    }
}

proptest! {
    #[test]
    fn every_plan_keeps_the_rules(
        points in prop::collection::vec(any_point(), 0..80),
        (max_registers_per_request, max_bits_per_request, max_gap) in (1_u16..130, 1_u16..300, 0_u16..12),
        constraints in prop::array::uniform4(any_constraints()),
    ) {
        let settings = PlanSettings { max_registers_per_request, max_bits_per_request, max_gap };
        let indices: Vec<u32> = (0..).take(points.len()).collect();
        let plan = plan(&points, &indices, &settings, &constraints);

        let members = plan.requests.iter().flat_map(|read| read.members.iter().copied());
        let mut covered: Vec<u32> = members.chain(plan.refused.iter().map(|(index, _)| *index)).collect();
        covered.sort_unstable();
        prop_assert_eq!(covered, indices);

        for read in &plan.requests {
            let span = u32::from(read.start)..u32::from(read.start) + u32::from(read.count);
            let spans: Vec<Range<u32>> = read.members.iter().map(|index| points[*index as usize].span()).collect();
            for member in &spans {
                prop_assert!(span.start <= member.start && member.end <= span.end);
            }
            let is_one_span = spans.iter().all(|member| *member == spans[0]);
            let constraints = &constraints[read.table.index()];
            let cap = settings.max_count(read.table).min(constraints.max_count.unwrap_or(u16::MAX));
            prop_assert!(read.count <= cap || is_one_span);
            prop_assert!(is_one_span || !constraints.holes.iter().any(|hole| touches(&span, hole)));
            let mut end = span.start;
            for member in &spans {
                prop_assert!(member.start.saturating_sub(end) <= settings.max_gap(read.table));
                end = end.max(member.end);
            }
            prop_assert_eq!(end, span.end);
        }
    }
}
