//! What is out and not yet acknowledged.
//!
//! Brokers acknowledge in order within one quality of service, so only the oldest of each is waited for: one
//! wake-up for many messages, and no task per message.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use mqtt::{Error, Token};
use paho_mqtt as mqtt;
use tokio::time::Instant;

use super::reason;
use crate::broker::{Outcome, Outgoing, Ticket};

/// What is out.
pub(super) struct Window {
    lanes: [Lane; 3],
}

struct Lane {
    out: VecDeque<Out>,
    /// When something was last acknowledged, or the first went out.
    since: Instant,
}

/// One message that is out.
struct Out {
    ticket: Ticket,
    message: Arc<Outgoing>,
    token: Token,
}

impl Window {
    pub(super) fn new() -> Self {
        let lane = || Lane { out: VecDeque::new(), since: Instant::now() };
        Self { lanes: [lane(), lane(), lane()] }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.out.len()).sum()
    }

    /// Forgets what is out: whoever handed it over is gone.
    pub(super) fn forget(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.out.clear());
    }

    /// The message that has been out for longest.
    pub(super) fn oldest(&self) -> Option<&Outgoing> {
        let fronts = self.lanes.iter().filter_map(|lane| lane.out.front());
        fronts.min_by_key(|out| out.ticket).map(|out| &*out.message)
    }

    pub(super) fn push(&mut self, qos: u8, ticket: Ticket, message: Arc<Outgoing>, token: Token) {
        let lane = &mut self.lanes[usize::from(qos.min(2))];
        if lane.out.is_empty() {
            lane.since = Instant::now();
        }
        lane.out.push_back(Out { ticket, message, token });
    }

    /// Collects what was acknowledged or refused; answers an error that means that the connection is broken. While
    /// the connection `closes`, that nobody acknowledges (`QoS` 0) isn't delivered by being written.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        closes: bool,
        outcomes: &mut Vec<(Ticket, Outcome)>,
    ) -> Option<Error> {
        let broken = self.lanes.iter_mut().skip(usize::from(closes)).map(|lane| lane.poll(cx, outcomes));
        broken.fold(None, Option::or)
    }

    /// Whether something has been out for so long with nothing being acknowledged.
    pub(super) fn is_stalled(&self, limit: Duration) -> bool {
        self.lanes.iter().any(|lane| !lane.out.is_empty() && lane.since.elapsed() >= limit)
    }
}

impl Lane {
    fn poll(&mut self, cx: &mut Context<'_>, outcomes: &mut Vec<(Ticket, Outcome)>) -> Option<Error> {
        let before = outcomes.len();
        let mut broken = None;
        while let Some(Out { ticket, token, .. }) = self.out.front_mut() {
            let Poll::Ready(said) = Pin::new(&mut *token).poll(cx) else { break };
            match said {
                Ok(_) => outcomes.push((*ticket, Outcome::Delivered)),
                Err(Error::ReasonCode(code, _)) => outcomes.push((*ticket, reason::outcome(code))),
                // What a broken connection leaves open stays the oldest: it is what it broke with.
                Err(error) => {
                    broken = Some(error);
                    *token = Token::new();
                    break;
                }
            }
            self.out.pop_front();
        }
        if outcomes.len() > before {
            self.since = Instant::now();
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use mqtt::{Properties, ReasonCode};

    use super::*;

    fn message() -> Arc<Outgoing> {
        Arc::new(crate::testing::outgoing("t", bifrost_model::TagClass::Status, "{}"))
    }

    fn poll(window: &mut Window) -> (Vec<(Ticket, Outcome)>, bool) {
        let mut outcomes = Vec::new();
        let broken = window.poll(&mut Context::from_waker(Waker::noop()), false, &mut outcomes);
        (outcomes, broken.is_some())
    }

    #[tokio::test]
    async fn each_quality_of_service_waits_for_its_own_oldest() {
        let mut window = Window::new();
        let refused = Error::ReasonCode(ReasonCode::NotAuthorized, Properties::new());
        window.push(2, 1, message(), Token::new());
        window.push(1, 2, message(), Token::from(refused));
        window.push(1, 3, message(), Token::new());
        assert_eq!(poll(&mut window), (vec![(2, Outcome::Refused("135 not authorized".to_owned()))], false));
        assert_eq!(window.len(), 2);
    }

    #[tokio::test]
    async fn what_a_broken_connection_leaves_open_stays_open() {
        let mut window = Window::new();
        window.push(1, 1, message(), Token::from(Error::OperationIncomplete));
        assert_eq!(poll(&mut window), (vec![], true));
        assert_eq!((window.len(), window.oldest().map(|oldest| &*oldest.topic)), (1, Some("t")));
    }

    #[tokio::test]
    async fn what_nobody_acknowledges_is_not_delivered_while_the_connection_closes() {
        let (mut window, mut outcomes) = (Window::new(), Vec::new());
        let refused = || Error::ReasonCode(ReasonCode::NotAuthorized, Properties::new());
        window.push(0, 1, message(), Token::from(refused()));
        window.push(1, 2, message(), Token::from(refused()));
        window.poll(&mut Context::from_waker(Waker::noop()), true, &mut outcomes);
        let settled: Vec<_> = outcomes.iter().map(|(ticket, _)| *ticket).collect();
        assert_eq!((settled, window.len()), (vec![2], 1));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_first_that_is_out() {
        let mut window = Window::new();
        let limit = Duration::from_secs(20);
        tokio::time::advance(limit * 2).await;
        assert!(!window.is_stalled(limit));
        window.push(1, 1, message(), Token::new());
        assert!(!window.is_stalled(limit));
        tokio::time::advance(limit).await;
        assert!(window.is_stalled(limit));
        window.forget();
        assert!(!window.is_stalled(limit));
    }
}
