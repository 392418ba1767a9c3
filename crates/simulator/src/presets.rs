//! Machines that are ready made: believable values, and a list of them that a gateway can be set up from.

use std::{fmt, str::FromStr, time::Duration};

use bifrost_model::DataType;
use serde::{Deserialize, Serialize};

use crate::{
    byte_order::ByteOrder,
    settings::{PlcSettings, Table},
    signal::Signal,
    wave::{Wave, scramble},
};

mod machines;

/// The machines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresetKind {
    /// A hydraulic press that stops for half a minute every ten.
    Press,
    /// A steam boiler with scaled integers and alarm bits.
    Boiler,
    /// A bottling line with a jam now and then.
    FillingLine,
    /// A three-phase meter with its registers swapped.
    EnergyMeter,
    /// A belt with a drive.
    Conveyor,
}

/// A machine: the PLC, and what in it is of interest.
#[derive(Debug, Clone, PartialEq)]
pub struct Preset {
    /// Which machine.
    pub kind: PresetKind,
    /// The PLC to simulate.
    pub settings: PlcSettings,
    /// Its points, unique by id, all of unit 1.
    pub points: Vec<Point>,
}

/// One value, described as a gateway's configuration describes a tag.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// Unique within the machine.
    pub id: String,
    /// In Modicon's way, 1-based: `40001`; a bit of a register as `30004.1`.
    pub address: String,
    /// How it is stored.
    pub data_type: DataType,
    /// The order of its bytes.
    pub byte_order: ByteOrder,
    /// Engineering units for one unit of the stored number.
    pub scale: f64,
    /// Of the scaled value; empty where there is none.
    pub unit: &'static str,
    /// Whether it is meant to be written.
    pub writable: bool,
    /// The least value that makes sense to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest value that makes sense to write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// For people.
    pub description: &'static str,
}

impl PresetKind {
    /// All machines.
    pub const ALL: [Self; 5] =
        [Self::Press, Self::Boiler, Self::FillingLine, Self::EnergyMeter, Self::Conveyor];

    /// As it is written in scenarios.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Press => "press",
            Self::Boiler => "boiler",
            Self::FillingLine => "filling_line",
            Self::EnergyMeter => "energy_meter",
            Self::Conveyor => "conveyor",
        }
    }

    /// One such machine; two of different names are at different moments of their course.
    pub fn build(self, name: &str) -> Preset {
        let seed = name.bytes().fold(0, |hash, byte| scramble(hash ^ u64::from(byte)));
        let mut draft =
            Draft { phase: Duration::from_millis(seed % 300_000), signals: Vec::new(), points: Vec::new() };
        match self {
            Self::Press => machines::press(&mut draft),
            Self::Boiler => machines::boiler(&mut draft),
            Self::FillingLine => machines::filling_line(&mut draft),
            Self::EnergyMeter => machines::energy_meter(&mut draft),
            Self::Conveyor => machines::conveyor(&mut draft),
        }
        let settings = PlcSettings { signals: draft.signals, ..PlcSettings::named(name) };
        Preset { kind: self, settings, points: draft.points }
    }
}

impl fmt::Display for PresetKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PresetKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        let known = || Self::ALL.map(Self::as_str).join(", ");
        found.ok_or_else(|| format!("{text:?} is no preset; use one of {}", known()))
    }
}

/// A machine in the making.
struct Draft {
    phase: Duration,
    signals: Vec<Signal>,
    points: Vec<Point>,
}

impl Draft {
    /// A value to be read.
    fn read(&mut self, id: &str, unit: &'static str, description: &'static str, signal: Signal) {
        self.points.push(Point {
            id: id.to_owned(),
            address: modicon(&signal),
            data_type: signal.data_type,
            byte_order: signal.byte_order,
            scale: signal.scale,
            unit,
            writable: false,
            min: None,
            max: None,
            description,
        });
        self.signals.push(Signal { phase: self.phase, ..signal });
    }

    /// A value to be set; a number within these limits.
    fn set(
        &mut self,
        id: &str,
        unit: &'static str,
        description: &'static str,
        limits: Option<(f64, f64)>,
        signal: Signal,
    ) {
        self.read(id, unit, description, signal);
        if let Some(point) = self.points.last_mut() {
            point.writable = true;
            (point.min, point.max) = limits.unzip();
        }
    }
}

fn modicon(signal: &Signal) -> String {
    let digit = match signal.table {
        Table::Coil => 0,
        Table::Discrete => 1,
        Table::Input => 3,
        Table::Holding => 4,
    };
    let bit = signal.bit.map_or_else(String::new, |bit| format!(".{bit}"));
    format!("{digit}{:04}{bit}", signal.address + 1)
}

/// A constant to be written over.
fn constant(value: f64) -> Wave {
    Wave::Constant { value }
}

fn sine(mean: f64, amplitude: f64, seconds: u64) -> Wave {
    Wave::Sine { mean, amplitude, period: Duration::from_secs(seconds) }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use super::*;
    use crate::{
        memory::{Layout, Unit},
        pdu::Span,
    };

    fn raw(preset: &Preset, signal: &Signal, at: Duration) -> Vec<u16> {
        let mut unit = Unit::new(&preset.settings, Arc::new(Layout::new(&preset.settings)), 1);
        unit.read(signal.table, Span { first: signal.address, count: signal.width() }, at).to_vec()
    }

    #[test]
    fn every_machine_makes_sense_and_names_every_point_once() {
        for kind in PresetKind::ALL {
            let preset = kind.build("one");
            preset.settings.validate().unwrap_or_else(|error| panic!("{kind}: {error}"));
            let ids: HashSet<_> = preset.points.iter().map(|point| &point.id).collect();
            assert_eq!(ids.len(), preset.points.len(), "{kind}");
            assert!(preset.points.iter().any(|point| point.writable) || kind == PresetKind::EnergyMeter);
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("rocket".parse::<PresetKind>().unwrap_err().contains("filling_line"));
    }

    #[test]
    fn no_two_points_of_a_machine_share_an_address() {
        for kind in PresetKind::ALL {
            let mut taken = HashSet::new();
            for signal in kind.build("one").settings.signals {
                for offset in 0..signal.width() {
                    let place = (signal.table, signal.address + offset, signal.bit);
                    assert!(taken.insert(place), "{kind} {place:?}");
                }
            }
        }
    }

    #[test]
    fn everything_but_what_is_to_be_written_moves_within_half_an_hour() {
        for kind in PresetKind::ALL {
            let preset = kind.build("one");
            for (point, signal) in preset.points.iter().zip(&preset.settings.signals) {
                let first = raw(&preset, signal, Duration::ZERO);
                let moves =
                    (1..1800).any(|second| raw(&preset, signal, Duration::from_secs(second)) != first);
                assert_eq!(moves, !point.writable, "{kind} {}", point.id);
            }
        }
    }

    #[test]
    fn a_press_counts_while_it_runs_only() {
        let preset = PresetKind::Press.build("press-1");
        let signal = |id: &str| {
            let index = preset.points.iter().position(|point| point.id == id).unwrap();
            &preset.settings.signals[index]
        };
        let at = |second| Duration::from_secs(second);
        let (state, cycles) = (signal("state"), signal("cycle_count"));
        let mut counted_while_stopped = 0;
        let mut seconds_stopped = 0;
        for second in 0..1300 {
            let stopped = |second| raw(&preset, state, at(second)) == [0];
            if stopped(second) && stopped(second + 1) {
                seconds_stopped += 1;
                let counted = raw(&preset, cycles, at(second)) != raw(&preset, cycles, at(second + 1));
                counted_while_stopped += u32::from(counted);
            }
        }
        assert!(seconds_stopped > 30, "{seconds_stopped}");
        assert_eq!(counted_while_stopped, 0);
        assert_ne!(raw(&preset, cycles, at(0)), raw(&preset, cycles, at(100)));
    }

    #[test]
    fn two_machines_of_a_kind_are_at_different_moments() {
        let (one, two) = (PresetKind::Boiler.build("one"), PresetKind::Boiler.build("two"));
        let at = Duration::from_secs(10);
        let values = |preset: &Preset| raw(preset, &preset.settings.signals[0], at);
        assert_ne!(values(&one), values(&two));
    }

    #[test]
    fn points_are_described_as_tags_are() {
        let points = PresetKind::Boiler.build("one").points;
        let point = points.iter().find(|point| point.id == "low_water").unwrap();
        let json = serde_json::to_value(point).unwrap();
        assert_eq!((json["address"].as_str(), json["data_type"].as_str()), (Some("30004.0"), Some("bool")));
        assert_eq!(json["byte_order"], "ABCD");
    }
}
