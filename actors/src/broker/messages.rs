//! What a spool and its session say to each other.
//!
//! A session attaches when its connection is up and detaches when it ends; what was handed to it and not
//! settled by then goes back to the spool's queue. The spool never has more than the session's window out,
//! so the session's mailbox needs no other bound.

use std::sync::Arc;

use actix::{Message, Recipient};

use super::Outgoing;

/// Names one message that was handed to a session; unique within the spool's life.
pub type Ticket = u64;

/// A session's connection is up: messages may be handed to it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// Which incarnation of the session; a later one takes an earlier one's place.
    pub incarnation: u64,
    /// Where messages go.
    pub to: Recipient<Deliver>,
    /// Most messages that are out at a time.
    pub window: usize,
    /// Largest payload that the broker takes, as far as it has said so.
    pub max_payload: Option<usize>,
}

/// The session is no more, or its connection isn't.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Detach {
    /// Which.
    pub incarnation: u64,
}

/// Send these, in this order.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Deliver(pub Vec<(Ticket, Arc<Outgoing>)>);

/// What became of messages that were handed out.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Settled {
    /// Who says so.
    pub incarnation: u64,
    /// Each with its outcome.
    pub outcomes: Vec<(Ticket, Outcome)>,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The broker has acknowledged it, or nothing acknowledges it (`QoS` 0) and it was written to the socket.
    Delivered,
    /// The broker has it already (`JetStream` by its id).
    Duplicate,
    /// The broker refuses it for good, with the reason: it goes to the dead letters.
    Refused(String),
    /// It may be sent again: not acknowledged in time, or the server is busy.
    Again(String),
}

/// Send this after all, though the broker refused it before: it has been replayed from the dead letters.
/// Answers once it is as safe as anything that the spool accepts, or why it isn't taken.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), String>")]
pub struct Requeue(pub Outgoing);

/// The addresses of a spool, as its session needs them.
#[derive(Debug, Clone)]
pub struct SpoolPorts {
    /// Its session's connection is up.
    pub attach: Recipient<Attach>,
    /// Its session is no more.
    pub detach: Recipient<Detach>,
    /// What became of messages.
    pub settled: Recipient<Settled>,
}
