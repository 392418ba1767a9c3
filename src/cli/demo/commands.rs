//! What can be typed while the demo runs.

use bifrost_simulator::{SimulatedPlc, Simulator};

/// An order to one of the PLCs.
#[derive(Debug)]
pub(super) enum Command<'a> {
    Nothing,
    Stop(&'a SimulatedPlc),
    Start(&'a SimulatedPlc),
}

/// Understands a line, or says what could be typed.
pub(super) fn parse<'a>(line: &str, simulator: &'a Simulator) -> Result<Command<'a>, String> {
    let mut words = line.split_whitespace();
    let (verb, name) = (words.next(), words.next());
    let plc = name.and_then(|name| simulator.plc(name));
    match (verb, name, plc) {
        (None, ..) => Ok(Command::Nothing),
        (Some("stop"), _, Some(plc)) => Ok(Command::Stop(plc)),
        (Some("start"), _, Some(plc)) => Ok(Command::Start(plc)),
        (Some("stop" | "start"), Some(name), None) => {
            Err(format!("there is no PLC {name:?}; {}", help(simulator)))
        }
        _ => Err(help(simulator)),
    }
}

fn help(simulator: &Simulator) -> String {
    let names: Vec<_> = simulator.plcs().iter().take(10).map(SimulatedPlc::name).collect();
    format!("type: stop NAME or start NAME; names are {}", names.join(", "))
}
