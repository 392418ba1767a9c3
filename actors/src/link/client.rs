//! A device's way to its unit: implements the driver's [`Exchange`] over whichever link lives.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use bifrost_drivers::{
    DeviceError,
    modbus::{Exchange, ExchangeError, Priority, Request, Response},
};
use futures_util::future::LocalBoxFuture;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{
    messages::Carry,
    state::{LinkLine, LinkState},
};
use crate::supervision::{Port, Undelivered};

/// One device's use of a link.
pub(crate) struct LinkClient {
    line: Arc<LinkLine>,
    timeout: Duration,
    late_reply_wait: Option<Duration>,
    traffic: Rc<Traffic>,
}

/// What one device asked and how it was answered.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) total: Cell<u64>,
    pub(crate) answered: Cell<u64>,
    pub(crate) refused: Cell<u64>,
    pub(crate) failed: Cell<u64>,
    pub(crate) response_time: Cell<Duration>,
    pub(crate) slowest: Cell<Duration>,
    /// When the unit last answered, refusals included.
    pub(crate) last_answer: Cell<Option<Instant>>,
    observer: Option<prometheus::Histogram>,
}

impl Traffic {
    pub(crate) fn new(observer: prometheus::Histogram) -> Self {
        Self { observer: Some(observer), ..Self::default() }
    }

    fn count(&self, began: Instant, outcome: &Result<Response, ExchangeError>) {
        self.total.set(self.total.get() + 1);
        let refused = matches!(outcome, Err(ExchangeError::Exception(_)));
        if outcome.is_err() && !refused {
            self.failed.set(self.failed.get() + 1);
            return;
        }
        let now = Instant::now();
        let took = now - began;
        // A gateway's word that it can't reach the unit is none of the unit's.
        if !matches!(outcome, Err(ExchangeError::Exception(0x0A | 0x0B))) {
            self.last_answer.set(Some(now));
        }
        self.answered.set(self.answered.get() + 1);
        self.refused.set(self.refused.get() + u64::from(refused));
        self.response_time.set(self.response_time.get() + took);
        self.slowest.set(self.slowest.get().max(took));
        if let Some(observer) = &self.observer {
            observer.observe(took.as_secs_f64());
        }
    }
}

impl LinkClient {
    pub(crate) fn new(
        line: Arc<LinkLine>,
        timeout: Duration,
        late_reply_wait: Option<Duration>,
        traffic: Rc<Traffic>,
    ) -> Self {
        Self { line, timeout, late_reply_wait, traffic }
    }

    /// Waits for a link that is being opened.
    async fn port(&self) -> Result<Port<Carry>, DeviceError> {
        let mut state = self.line.subscribe();
        let limit = self.line.settings().connect_timeout;
        let deadline = Instant::now() + limit;
        loop {
            match state.borrow_and_update().1.clone() {
                LinkState::Up(port) => return Ok(port),
                LinkState::Down(reason) => return Err(DeviceError::Offline(reason.to_string())),
                LinkState::Opening => {}
            }
            if !matches!(timeout_at(deadline, state.changed()).await, Ok(Ok(()))) {
                return Err(DeviceError::Offline(format!("no connection within {limit:?}")));
            }
        }
    }

    async fn carry(
        &self,
        unit: u8,
        request: Request<'static>,
        priority: Priority,
    ) -> Result<Response, ExchangeError> {
        let (reply, answer) = oneshot::channel();
        let (timeout, late_reply_wait) = (self.timeout, self.late_reply_wait);
        let job = Carry { unit, request, priority, timeout, late_reply_wait, reply };
        let sent = match self.line.try_carry(job) {
            Ok(sent) => sent,
            Err(job) => self.port().await?.try_send(job),
        };
        match sent {
            Ok(()) => {}
            Err(Undelivered::Full) => return Err(DeviceError::Busy.into()),
            Err(Undelivered::Closed) => return Err(gone()),
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> ExchangeError {
    DeviceError::Offline("the connection ended before it was this request's turn".to_owned()).into()
}

impl Exchange for LinkClient {
    fn exchange(
        &self,
        unit: u8,
        request: Request<'static>,
        priority: Priority,
    ) -> LocalBoxFuture<'_, Result<Response, ExchangeError>> {
        Box::pin(async move {
            let began = Instant::now();
            let outcome = self.carry(unit, request, priority).await;
            self.traffic.count(began, &outcome);
            outcome
        })
    }
}
