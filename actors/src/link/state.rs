//! Where devices find the link's current incarnation, and why there is none.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bifrost_drivers::modbus::Debts;

use prometheus::IntCounter;
use tokio::sync::watch;

use super::{messages::Carry, settings::LinkSettings, transport::Connection};
use crate::supervision::{MailboxStats, Port, Undelivered};

/// What a link is doing.
#[derive(Debug, Clone)]
pub(super) enum LinkState {
    /// Being opened.
    Opening,
    /// Open, and reached here.
    Up(Port<Carry>),
    /// Not open, and why.
    Down(Arc<str>),
}

/// One link over all its incarnations.
#[derive(Debug)]
pub(crate) struct LinkLine {
    pub(super) settings: LinkSettings,
    pub(super) mailbox: Arc<MailboxStats>,
    /// Connections opened.
    opened: IntCounter,
    debts: Mutex<Debts>,
    state: watch::Sender<(u64, LinkState)>,
}

impl LinkLine {
    pub(crate) fn new(settings: LinkSettings, queue: usize, opened: IntCounter) -> Arc<Self> {
        let state = watch::Sender::new((0, LinkState::Opening));
        Arc::new(Self { settings, mailbox: MailboxStats::new(queue), opened, debts: Mutex::default(), state })
    }

    pub(crate) fn settings(&self) -> &LinkSettings {
        &self.settings
    }

    fn debts(&self) -> MutexGuard<'_, Debts> {
        self.debts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps which units owe an answer for the next connection: a serial line behind it remembers too.
    pub(super) fn remember(&self, debts: Debts) {
        *self.debts() = debts;
    }

    /// Opens a connection, and counts it.
    pub(super) async fn connect(&self) -> Result<Connection, String> {
        let mut connection = Connection::open(&self.settings).await?;
        connection.client.owe(std::mem::take(&mut *self.debts()));
        self.opened.inc();
        Ok(connection)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<(u64, LinkState)> {
        self.state.subscribe()
    }

    /// Hands a request to the link, if it is open; else gives it back.
    pub(super) fn try_carry(&self, job: Carry) -> Result<Result<(), Undelivered>, Carry> {
        match &self.state.borrow().1 {
            LinkState::Up(port) => Ok(port.try_send(job)),
            LinkState::Opening | LinkState::Down(_) => Err(job),
        }
    }

    /// A new incarnation takes over; answers its number.
    pub(super) fn take_over(&self) -> u64 {
        let mut number = 0;
        self.state.send_modify(|(owner, state)| {
            *owner += 1;
            number = *owner;
            // While the link is down, requests fail at once instead of waiting for each attempt.
            if !matches!(state, LinkState::Down(_)) {
                *state = LinkState::Opening;
            }
        });
        number
    }

    /// Sets the state, unless another incarnation has taken over since.
    pub(super) fn set(&self, number: u64, new: LinkState) {
        self.state.send_if_modified(|(owner, state)| {
            let mine = *owner == number;
            if mine {
                *state = new;
            }
            mine
        });
    }
}
