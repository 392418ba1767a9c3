//! What each machine measures, and where it keeps it. Numbers that belong together stop together: a state
//! and the counter beside it have the same run and pause.

use std::time::Duration;

use bifrost_model::DataType::{Bool, Float32, Int16, String as Text, Uint16, Uint32, Uint64};

use super::{Draft, constant, sine};
use crate::{
    byte_order::ByteOrder,
    settings::Table::{Coil, Discrete, Holding, Input},
    signal::Signal,
    wave::Wave,
};

/// How long the states of these machines are held.
const SLOT: Duration = Duration::from_secs(30);

/// Counts for `run` slots, then stands still for one.
fn counter(step: f64, period: Duration, start: f64, run: u32) -> Wave {
    Wave::Counter { step, period, start, run: Some(SLOT * run), pause: SLOT }
}

/// `running` for `run` slots, then `stopped` for one.
fn state(running: f64, stopped: f64, run: usize) -> Wave {
    let mut values = vec![running; run];
    values.push(stopped);
    Wave::Step { values, period: SLOT }
}

pub(super) fn press(plc: &mut Draft) {
    let temperature = Signal::new(Holding, 0, Float32, sine(182.0, 6.0, 240)).noisy(0.15);
    plc.read("temperature", "degC", "Temperature of the upper platen", temperature);
    let stroke = Wave::Ramp { min: 20.0, max: 160.0, period: Duration::from_secs(12) };
    plc.read("pressure", "bar", "Hydraulic pressure", Signal::new(Holding, 2, Float32, stroke).noisy(0.8));
    let cycles = counter(1.0, Duration::from_secs(12), 48_210.0, 20);
    plc.read("cycle_count", "", "Strokes since commissioning", Signal::new(Holding, 4, Uint32, cycles));
    plc.read("state", "", "0 stopped, 1 running", Signal::new(Holding, 6, Uint16, state(1.0, 0.0, 20)));
    let setpoint = Signal::new(Holding, 7, Float32, constant(180.0));
    plc.set("setpoint", "degC", "Temperature to be held", Some((20.0, 250.0)), setpoint);
    plc.read("guard_closed", "", "The guard is closed", Signal::new(Discrete, 0, Bool, state(1.0, 0.0, 20)));
    plc.set("enable", "", "Allows the next stroke", None, Signal::new(Coil, 0, Bool, constant(1.0)));
}

pub(super) fn boiler(plc: &mut Draft) {
    let water = Signal::new(Input, 0, Int16, sine(158.0, 7.0, 300)).scaled(0.1).noisy(0.2);
    plc.read("water_temperature", "degC", "Temperature of the water", water);
    let steam = Signal::new(Input, 1, Int16, sine(6.1, 0.6, 300)).scaled(0.01).noisy(0.01);
    plc.read("steam_pressure", "bar", "Pressure in the drum", steam);
    let level = Wave::Ramp { min: 78.0, max: 42.0, period: Duration::from_mins(7) };
    let level = Signal::new(Input, 2, Uint16, level).scaled(0.1).noisy(0.1);
    plc.read("feed_water_level", "%", "Level in the feed water tank", level);
    let burner = Wave::Step { values: vec![1.0, 1.0, 1.0, 0.0], period: SLOT };
    plc.read("burner_on", "", "The burner is lit", Signal::new(Discrete, 0, Bool, burner));
    // The last half minute before the tank is filled up again: 14 slots are the seven minutes of the level.
    let low_water = Signal { bit: Some(0), ..Signal::new(Input, 3, Bool, state(0.0, 1.0, 13)) };
    plc.read("low_water", "", "Alarm: the feed water is low", low_water);
    let overpressure = Signal { bit: Some(1), ..Signal::new(Input, 3, Bool, state(0.0, 1.0, 29)) };
    plc.read("overpressure", "", "Alarm: the pressure is too high", overpressure);
    let setpoint = Signal::new(Holding, 0, Int16, constant(6.0)).scaled(0.01);
    plc.set("pressure_setpoint", "bar", "Pressure to be held", Some((2.0, 8.0)), setpoint);
}

pub(super) fn filling_line(plc: &mut Draft) {
    let bottles = counter(1.0, Duration::from_millis(250), 1_204_500.0, 19);
    plc.read("bottles", "", "Bottles filled", Signal::new(Holding, 0, Uint32, bottles));
    let mut speeds: Vec<f64> = (0..19).map(|slot| 238.0 + f64::from(slot * 7 % 5)).collect();
    speeds.push(0.0);
    let speed = Signal::new(Holding, 2, Uint16, Wave::Step { values: speeds, period: SLOT });
    plc.read("speed", "1/min", "Bottles per minute", speed);
    let volume = Wave::Noise { mean: 500.2, deviation: 0.6 };
    plc.read("fill_volume", "ml", "Volume of the last bottle", Signal::new(Holding, 4, Float32, volume));
    let rejects = counter(1.0, Duration::from_secs(37), 311.0, 19);
    plc.read("rejects", "", "Bottles rejected", Signal::new(Holding, 6, Uint16, rejects));
    let recipes = ["LEMONADE 0.5L", "WATER STILL 1L", "COLA 0.33L"].map(str::to_owned).to_vec();
    let recipe = Wave::Text { values: recipes, period: Duration::from_mins(10) };
    plc.read("recipe", "", "What is being filled", Signal::new(Holding, 10, Text(16), recipe));
    plc.read("jam", "", "Alarm: bottles are jammed", Signal::new(Discrete, 0, Bool, state(0.0, 1.0, 19)));
    let target = Signal::new(Holding, 20, Uint16, constant(240.0));
    plc.set("target_speed", "1/min", "Bottles per minute wanted", Some((0.0, 300.0)), target);
}

pub(super) fn energy_meter(plc: &mut Draft) {
    let swapped = |address, wave| Signal::new(Input, address, Float32, wave).ordered(ByteOrder::Cdab);
    let phases = [
        ("voltage_l1", "current_l1", 230.4, 41.0),
        ("voltage_l2", "current_l2", 229.7, 38.5),
        ("voltage_l3", "current_l3", 231.1, 43.2),
    ];
    for ((voltage_id, current_id, voltage, current), address) in phases.into_iter().zip([0, 2, 4]) {
        let voltage = swapped(address, sine(voltage, 2.5, 900)).noisy(0.3);
        plc.read(voltage_id, "V", "Voltage to neutral", voltage);
        let current = swapped(address + 6, sine(current, 12.0, 420)).noisy(0.5);
        plc.read(current_id, "A", "Current", current);
    }
    plc.read("power", "kW", "Active power", swapped(12, sine(26.8, 7.9, 420)).noisy(0.2));
    let frequency = swapped(14, Wave::Noise { mean: 50.0, deviation: 0.01 });
    plc.read("frequency", "Hz", "Frequency of the grid", frequency);
    let factor = swapped(16, sine(0.94, 0.03, 420)).noisy(0.002);
    plc.read("power_factor", "", "Power factor", factor);
    let energy = Wave::Counter {
        step: 7.0,
        period: Duration::from_secs(1),
        start: 91_234_567.0,
        run: None,
        pause: Duration::ZERO,
    };
    let energy = Signal::new(Input, 20, Uint64, energy).ordered(ByteOrder::Cdab);
    plc.read("energy", "Wh", "Active energy imported", energy);
}

pub(super) fn conveyor(plc: &mut Draft) {
    let speed = Signal::new(Holding, 0, Float32, sine(1.2, 0.05, 60)).noisy(0.005);
    plc.read("speed", "m/s", "Speed of the belt", speed);
    let current = Signal::new(Holding, 2, Float32, sine(14.5, 3.0, 45)).noisy(0.3);
    plc.read("motor_current", "A", "Current of the drive", current);
    let turn = Wave::Ramp { min: 0.0, max: 48.0, period: Duration::from_secs(40) };
    plc.read("position", "m", "Position of the belt's joint", Signal::new(Holding, 4, Float32, turn));
    let parcels = counter(1.0, Duration::from_secs(2), 730_112.0, 58);
    plc.read("parcels", "", "Parcels carried", Signal::new(Holding, 6, Uint32, parcels));
    let temperature = Signal::new(Holding, 8, Int16, sine(48.0, 4.0, 600)).scaled(0.1).noisy(0.2);
    plc.read("motor_temperature", "degC", "Temperature of the drive", temperature);
    let occupied = Wave::Step { values: vec![1.0, 0.0, 1.0, 1.0, 0.0], period: Duration::from_secs(1) };
    plc.read("occupied", "", "Something is at the exit", Signal::new(Discrete, 0, Bool, occupied));
    let setpoint = Signal::new(Holding, 10, Float32, constant(1.2));
    plc.set("speed_setpoint", "m/s", "Speed wanted", Some((0.0, 2.0)), setpoint);
    plc.set("run", "", "Runs while it is on", None, Signal::new(Coil, 0, Bool, constant(1.0)));
}
