//! The registers and coils of one unit: what was written, what moves, what is missing.
//!
//! A signal is put into its registers when a read touches them. A register that was written keeps its value:
//! it is marked, and a signal with a marked register is left alone until it is restarted.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    pdu::{Refusal, Span},
    settings::{Hole, PlcSettings, Table},
    signal::Signal,
    wave::scramble,
};

/// Everything one unit holds.
#[derive(Debug)]
pub(crate) struct Unit {
    layout: Arc<Layout>,
    seed: u64,
    coils: Vec<u16>,
    discrete: Vec<u16>,
    holding: Vec<u16>,
    input: Vec<u16>,
    /// One flag per address, for each table, empty until the first write.
    written: [Vec<bool>; 4],
}

/// What all units of a PLC have in common.
#[derive(Debug)]
pub(crate) struct Layout {
    /// By address within each table; indexed by table.
    signals: [Vec<Signal>; 4],
    holes: Vec<Hole>,
    pub(crate) max_registers: Option<u16>,
}

impl Layout {
    pub(crate) fn new(settings: &PlcSettings) -> Self {
        let mut signals = [const { Vec::new() }; 4];
        for signal in &settings.signals {
            signals[signal.table as usize].push(signal.clone());
        }
        for table in &mut signals {
            table.sort_by_key(|signal| signal.address);
        }
        Self { signals, holes: settings.holes.clone(), max_registers: settings.max_registers_per_request }
    }
}

impl Unit {
    pub(crate) fn new(settings: &PlcSettings, layout: Arc<Layout>, unit: u8) -> Self {
        let name = settings.name.bytes().fold(0, |hash, byte| scramble(hash ^ u64::from(byte)));
        let bits = || vec![0; usize::from(settings.coils)];
        let registers = || vec![0; usize::from(settings.registers)];
        Self {
            layout,
            seed: scramble(name ^ u64::from(unit)),
            coils: bits(),
            discrete: bits(),
            holding: registers(),
            input: registers(),
            written: [const { Vec::new() }; 4],
        }
    }

    pub(crate) fn max_registers(&self) -> Option<u16> {
        self.layout.max_registers
    }

    /// Whether every address of the span exists.
    pub(crate) fn check(&self, table: Table, span: Span) -> Result<(), Refusal> {
        let missing = |hole: &Hole| hole.table == table && hole.range.meets(span.first, span.count);
        if span.end() > self.cells(table).len() || self.layout.holes.iter().any(missing) {
            return Err(Refusal::Address);
        }
        Ok(())
    }

    /// The values of a span that was checked, at this time since the start; a bit is 0 or 1.
    pub(crate) fn read(&mut self, table: Table, span: Span, at: Duration) -> &[u16] {
        self.refresh(table, span, at);
        self.cells(table).get(span.range()).unwrap_or_default()
    }

    /// Writes, from `span.first` on, as many values as the span has.
    pub(crate) fn write(&mut self, table: Table, span: Span, values: impl Iterator<Item = u16>) {
        let size = self.cells(table).len();
        let written = &mut self.written[table as usize];
        if written.is_empty() {
            written.resize(size, false);
        }
        if let Some(flags) = written.get_mut(span.range()) {
            flags.fill(true);
        }
        if let Some(cells) = self.cells_mut(table).get_mut(span.range()) {
            cells.iter_mut().zip(values).for_each(|(cell, value)| *cell = value);
        }
    }

    /// Lets every signal of the span move again, whatever was written.
    pub(crate) fn restart(&mut self, table: Table, span: Span) {
        if let Some(flags) = self.written[table as usize].get_mut(span.range()) {
            flags.fill(false);
        }
    }

    fn refresh(&mut self, table: Table, span: Span, at: Duration) {
        let layout = Arc::clone(&self.layout);
        for signal in &layout.signals[table as usize] {
            if usize::from(signal.address) >= span.end() {
                break;
            }
            self.refresh_signal(signal, span, at);
        }
    }

    /// Those repetitions of a signal that the span touches.
    fn refresh_signal(&mut self, signal: &Signal, span: Span, at: Duration) {
        let width = signal.width();
        let before = span.first.saturating_sub(signal.address) / width;
        for index in before..signal.repeat {
            let first = usize::from(signal.address) + usize::from(index) * usize::from(width);
            if first >= span.end() {
                break;
            }
            let range = first..first + usize::from(width);
            if self.written[signal.table as usize].get(range.clone()).is_some_and(|w| w.contains(&true)) {
                continue;
            }
            let seed = self.seed;
            let Some(cells) = self.cells_mut(signal.table).get_mut(range) else { break };
            if signal.table.is_bits() {
                cells[0] = u16::from(signal.is_on(index, at, seed));
            } else {
                signal.store(index, at, seed, cells);
            }
        }
    }

    fn cells(&self, table: Table) -> &Vec<u16> {
        match table {
            Table::Coil => &self.coils,
            Table::Discrete => &self.discrete,
            Table::Holding => &self.holding,
            Table::Input => &self.input,
        }
    }

    fn cells_mut(&mut self, table: Table) -> &mut Vec<u16> {
        match table {
            Table::Coil => &mut self.coils,
            Table::Discrete => &mut self.discrete,
            Table::Holding => &mut self.holding,
            Table::Input => &mut self.input,
        }
    }
}

/// A handle to the memory of one unit, for tests and demonstrations: it reads and writes every table, past
/// holes and limits of the protocol. Clones share the memory, and it outlives the PLC.
#[derive(Debug, Clone)]
pub struct Memory {
    unit: Arc<Mutex<Unit>>,
    started: Instant,
}

impl Memory {
    pub(crate) fn new(unit: Unit, started: Instant) -> Self {
        Self { unit: Arc::new(Mutex::new(unit)), started }
    }

    /// A panic elsewhere can't have left single registers half written.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Unit> {
        self.unit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `count` values as a client would read them now; nothing if the table is too short. A bit is 0 or 1.
    pub fn read(&self, table: Table, first: u16, count: u16) -> Option<Vec<u16>> {
        let span = Span { first, count };
        let mut unit = self.lock();
        let at = self.started.elapsed();
        (span.end() <= unit.cells(table).len()).then(|| unit.read(table, span, at).to_vec())
    }

    /// Writes these values, read-only tables too, as a client's write does: signals there stand still from
    /// now on. Returns false, and writes nothing, if the table is too short.
    pub fn write(&self, table: Table, first: u16, values: &[u16]) -> bool {
        let Ok(count) = u16::try_from(values.len()) else { return false };
        let span = Span { first, count };
        let mut unit = self.lock();
        let fits = span.end() <= unit.cells(table).len();
        if fits {
            unit.write(table, span, values.iter().copied());
        }
        fits
    }

    /// One holding register.
    pub fn holding(&self, address: u16) -> Option<u16> {
        self.read(Table::Holding, address, 1)?.first().copied()
    }

    /// Sets one holding register; false if there is none.
    pub fn set_holding(&self, address: u16, value: u16) -> bool {
        self.write(Table::Holding, address, &[value])
    }

    /// One input register.
    pub fn input(&self, address: u16) -> Option<u16> {
        self.read(Table::Input, address, 1)?.first().copied()
    }

    /// Sets one input register; false if there is none.
    pub fn set_input(&self, address: u16, value: u16) -> bool {
        self.write(Table::Input, address, &[value])
    }

    /// One coil.
    pub fn coil(&self, address: u16) -> Option<bool> {
        Some(self.read(Table::Coil, address, 1)?.first()? == &1)
    }

    /// Sets one coil; false if there is none.
    pub fn set_coil(&self, address: u16, on: bool) -> bool {
        self.write(Table::Coil, address, &[u16::from(on)])
    }

    /// One discrete input.
    pub fn discrete(&self, address: u16) -> Option<bool> {
        Some(self.read(Table::Discrete, address, 1)?.first()? == &1)
    }

    /// Sets one discrete input; false if there is none.
    pub fn set_discrete(&self, address: u16, on: bool) -> bool {
        self.write(Table::Discrete, address, &[u16::from(on)])
    }

    /// Lets every signal that a write stopped move again, as if it had never stopped.
    pub fn restart_signals(&self) {
        let mut unit = self.lock();
        for flags in &mut unit.written {
            flags.fill(false);
        }
    }

    /// The same for the signals in `count` addresses of one table.
    pub fn restart_signals_at(&self, table: Table, first: u16, count: u16) {
        self.lock().restart(table, Span { first, count });
    }
}

#[cfg(test)]
mod tests {
    use bifrost_model::DataType;

    use super::*;
    use crate::{settings::AddressRange, wave::Wave};

    fn counter(table: Table, address: u16, data_type: DataType) -> Signal {
        let wave = Wave::Counter {
            step: 1.0,
            period: Duration::from_secs(1),
            start: 0.0,
            run: None,
            pause: Duration::ZERO,
        };
        Signal::new(table, address, data_type, wave)
    }

    fn unit(settings: &PlcSettings) -> Unit {
        Unit::new(settings, Arc::new(Layout::new(settings)), 1)
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_signal_moves_when_it_is_read_also_from_its_middle() {
        let signals = vec![counter(Table::Holding, 4, DataType::Uint32)];
        let mut unit = unit(&PlcSettings { signals, ..PlcSettings::default() });
        assert_eq!(unit.read(Table::Holding, Span { first: 3, count: 4 }, at(7)), [0, 0, 7, 0]);
        assert_eq!(unit.read(Table::Holding, Span { first: 5, count: 1 }, at(9)), [9]);
        assert_eq!(unit.read(Table::Holding, Span { first: 0, count: 4 }, at(11)), [0; 4]);
    }

    #[test]
    fn a_written_register_stops_its_whole_signal_until_it_is_restarted() {
        let signals = vec![Signal { repeat: 2, ..counter(Table::Holding, 0, DataType::Uint32) }];
        let mut unit = unit(&PlcSettings { signals, ..PlcSettings::default() });
        let all = Span { first: 0, count: 4 };
        unit.read(Table::Holding, all, at(1));
        unit.write(Table::Holding, Span { first: 1, count: 1 }, std::iter::once(500));
        assert_eq!(unit.read(Table::Holding, all, at(9)), [0, 500, 0, 9]);
        unit.restart(Table::Holding, all);
        assert_eq!(unit.read(Table::Holding, all, at(10)), [0, 10, 0, 10]);
    }

    #[test]
    fn what_lies_outside_or_in_a_hole_is_refused() {
        let holes = vec![Hole { table: Table::Holding, range: AddressRange { first: 10, last: 11 } }];
        let unit = unit(&PlcSettings { registers: 20, coils: 5, holes, ..PlcSettings::default() });
        for (table, first, count, fine) in [
            (Table::Holding, 0, 10, true),
            (Table::Holding, 0, 11, false),
            (Table::Holding, 12, 8, true),
            (Table::Holding, 12, 9, false),
            (Table::Input, 10, 1, true),
            (Table::Coil, 0, 5, true),
            (Table::Discrete, 5, 1, false),
            (Table::Holding, u16::MAX, u16::MAX, false),
        ] {
            assert_eq!(unit.check(table, Span { first, count }).is_ok(), fine, "{table} {first} {count}");
        }
    }

    #[test]
    fn the_handle_reads_and_writes_every_table_and_refuses_what_is_not_there() {
        let settings = PlcSettings::default();
        let memory = Memory::new(unit(&settings), Instant::now());
        assert!(memory.set_holding(1, 11) && memory.set_input(2, 22));
        assert!(memory.set_coil(3, true) && memory.set_discrete(4, true));
        assert_eq!((memory.holding(1), memory.input(2)), (Some(11), Some(22)));
        assert_eq!((memory.coil(3), memory.discrete(4)), (Some(true), Some(true)));
        assert_eq!(memory.holding(100), None);
        assert!(!memory.write(Table::Holding, 99, &[1, 2]));
        assert_eq!(memory.holding(99), Some(0));
    }

    #[test]
    fn two_units_of_one_plc_have_noise_of_their_own() {
        let wave = Wave::Noise { mean: 1000.0, deviation: 300.0 };
        let signals = vec![Signal { repeat: 10, ..Signal::new(Table::Input, 0, DataType::Uint16, wave) }];
        let settings = PlcSettings { signals, ..PlcSettings::default() };
        let layout = Arc::new(Layout::new(&settings));
        let mut one = Unit::new(&settings, Arc::clone(&layout), 1);
        let mut two = Unit::new(&settings, layout, 2);
        let span = Span { first: 0, count: 10 };
        assert_ne!(one.read(Table::Input, span, at(1)), two.read(Table::Input, span, at(1)));
    }
}
