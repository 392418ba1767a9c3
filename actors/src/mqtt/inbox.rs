//! What Paho's threads leave for the session.
//!
//! They hold a lock that all sessions share, so they put things down here and never wait.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use futures_util::task::AtomicWaker;
use mqtt::Message;
use paho_mqtt as mqtt;

/// Larger requests aren't taken: a command is a few hundred bytes.
pub(super) const MAX_REQUEST: usize = 256 * 1024;

/// Bytes that may wait here, with what each message takes beside its payload.
const ROOM: usize = 4 << 20;
const OVERHEAD: usize = 512;

/// Where Paho's threads put what arrives.
pub(super) struct Inbox {
    state: Mutex<Found>,
    waker: AtomicWaker,
    /// The broker hears nothing any more; why is still to come.
    closing: AtomicBool,
}

/// What was put there since it was last looked into.
#[derive(Default)]
pub(super) struct Found {
    /// Messages, in the order in which they arrived.
    pub(super) messages: VecDeque<Message>,
    /// What they take.
    bytes: usize,
    /// Messages that found the inbox full, or were too large for it.
    pub(super) missed: u64,
    /// Why the connection is no more.
    pub(super) lost: Option<String>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), waker: AtomicWaker::new(), closing: AtomicBool::new(false) }
    }

    fn change(&self, change: impl FnOnce(&mut Found)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.waker.wake();
    }

    pub(super) fn arrived(&self, message: Message) {
        self.change(|state| {
            let length = message.payload().len();
            if length <= MAX_REQUEST && state.bytes + length + OVERHEAD <= ROOM {
                state.bytes += length + OVERHEAD;
                state.messages.push_back(message);
            } else {
                state.missed += 1;
            }
        });
    }

    /// The broker's end is gone: what is written from now on reaches nobody, though Paho takes it for sent.
    pub(super) fn closes(&self) {
        self.closing.store(true, Ordering::Release);
    }

    /// Whether it is.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The first reason stands.
    pub(super) fn lost(&self, reason: String) {
        self.change(|state| {
            state.lost.get_or_insert(reason);
        });
    }

    /// Takes what is there; whoever polls is woken when there is more.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Found {
        self.waker.register(cx.waker());
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_full_inbox_counts_what_it_does_not_take() {
        let inbox = Inbox::new();
        inbox.arrived(Message::new("t", vec![0; MAX_REQUEST + 1], 1));
        for _ in 0..10_000 {
            inbox.arrived(Message::new("t", vec![0; 1000], 1));
        }
        let found = inbox.poll(&Context::from_waker(Waker::noop()));
        let kept = found.messages.len();
        assert_eq!((kept, found.missed), (ROOM / 1512, 10_001 - kept as u64));
        assert!(inbox.poll(&Context::from_waker(Waker::noop())).messages.is_empty());
    }

    #[test]
    fn the_first_reason_of_a_loss_stands() {
        let inbox = Inbox::new();
        inbox.lost("said by the broker".to_owned());
        inbox.lost("closed".to_owned());
        let found = inbox.poll(&Context::from_waker(Waker::noop()));
        assert_eq!(found.lost.as_deref(), Some("said by the broker"));
    }
}
