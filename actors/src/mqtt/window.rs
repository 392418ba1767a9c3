//! What is out and not yet acknowledged.
//!
//! Brokers acknowledge in order within one quality of service, so only the oldest of each is waited for: one
//! wake-up for many messages, and no task per message.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use mqtt::{Error, Token};
use paho_mqtt as mqtt;
use tokio::time::Instant;

use super::reason;
use crate::broker::{Outcome, Ticket};

/// What is out.
pub(super) struct Window {
    lanes: [Lane; 3],
}

struct Lane {
    out: VecDeque<(Ticket, Token)>,
    /// When something was last acknowledged, or the first went out.
    since: Instant,
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

    pub(super) fn push(&mut self, qos: u8, ticket: Ticket, token: Token) {
        let lane = &mut self.lanes[usize::from(qos.min(2))];
        if lane.out.is_empty() {
            lane.since = Instant::now();
        }
        lane.out.push_back((ticket, token));
    }

    /// Collects what was acknowledged or refused; answers an error that means that the connection is broken.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outcomes: &mut Vec<(Ticket, Outcome)>,
    ) -> Option<Error> {
        let broken = self.lanes.iter_mut().map(|lane| lane.poll(cx, outcomes));
        broken.fold(None, |first, next| first.or(next))
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
        while let Some((ticket, token)) = self.out.front_mut() {
            let Poll::Ready(said) = Pin::new(token).poll(cx) else { break };
            match said {
                Ok(_) => outcomes.push((*ticket, Outcome::Delivered)),
                Err(Error::ReasonCode(code, _)) => outcomes.push((*ticket, reason::outcome(code))),
                Err(error) => broken = Some(error),
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

    fn poll(window: &mut Window) -> (Vec<(Ticket, Outcome)>, bool) {
        let mut outcomes = Vec::new();
        let broken = window.poll(&mut Context::from_waker(Waker::noop()), &mut outcomes);
        (outcomes, broken.is_some())
    }

    #[tokio::test]
    async fn each_quality_of_service_waits_for_its_own_oldest() {
        let mut window = Window::new();
        let refused = Error::ReasonCode(ReasonCode::NotAuthorized, Properties::new());
        window.push(2, 1, Token::new());
        window.push(1, 2, Token::from(refused));
        window.push(1, 3, Token::new());
        assert_eq!(poll(&mut window), (vec![(2, Outcome::Refused("135 not authorized".to_owned()))], false));
        assert_eq!(window.len(), 2);
    }

    #[tokio::test]
    async fn what_a_broken_connection_leaves_open_stays_open() {
        let mut window = Window::new();
        window.push(1, 1, Token::from(Error::OperationIncomplete));
        assert_eq!(poll(&mut window), (vec![], true));
        assert_eq!(window.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_from_the_first_that_is_out() {
        let mut window = Window::new();
        let limit = Duration::from_secs(20);
        tokio::time::advance(limit * 2).await;
        assert!(!window.is_stalled(limit));
        window.push(1, 1, Token::new());
        assert!(!window.is_stalled(limit));
        tokio::time::advance(limit).await;
        assert!(window.is_stalled(limit));
        window.forget();
        assert!(!window.is_stalled(limit));
    }
}
