//! The session's way out: from the spool's messages to what became of them.

use std::sync::Arc;

use super::{actor::MqttSession, publisher::Sent, suspicion::Verdict};
use crate::broker::{Outcome, Outgoing, Settled, Ticket};

impl MqttSession {
    /// Tells the spool what became of its messages.
    pub(super) fn tell(&mut self) {
        if self.outcomes.is_empty() {
            return;
        }
        let outcomes = std::mem::take(&mut self.outcomes);
        self.count(&outcomes);
        if self.verdict != Verdict::Innocent || !self.held.is_empty() {
            self.release(&outcomes);
        }
        if let Some(ports) = &self.attached {
            ports.settled.do_send(Settled { incarnation: self.incarnation, outcomes });
        }
    }

    fn count(&mut self, outcomes: &[(Ticket, Outcome)]) {
        let mut delivered = 0;
        for (_, outcome) in outcomes {
            match outcome {
                Outcome::Delivered | Outcome::Duplicate => delivered += 1,
                Outcome::Again(reason) => self.counts.last_refusal = Some(reason.clone()),
                Outcome::Refused(reason) => {
                    self.counts.refused += 1;
                    self.counts.last_refusal = Some(reason.clone());
                    self.parts.counters.refused.add(1);
                }
            }
        }
        self.counts.acknowledged += delivered;
        self.parts.counters.acknowledged.add(delivered);
    }

    /// Sends what waited for a suspected message, once that is settled, or could go alone now.
    fn release(&mut self, settled: &[(Ticket, Outcome)]) {
        if self.alone.is_some_and(|alone| settled.iter().any(|(ticket, _)| *ticket == alone)) {
            self.acquit();
        }
        if self.alone.is_none() && (self.verdict == Verdict::Innocent || self.window.len() == 0) {
            for (ticket, message) in std::mem::take(&mut self.held) {
                self.deliver(ticket, message);
            }
        }
    }

    fn acquit(&mut self) {
        self.life.acquit();
        self.verdict = Verdict::Innocent;
        self.alone = None;
    }

    /// Whether a message has to wait because of a suspected one, which goes alone.
    fn waits(&mut self, ticket: Ticket, message: &Outgoing) -> bool {
        let Verdict::Suspect(suspect) = &self.verdict else { return false };
        let is_suspect = *suspect == self.id(message);
        if is_suspect && self.window.len() == 0 && self.alone.is_none() {
            self.alone = Some(ticket);
            return false;
        }
        is_suspect || self.alone.is_some() || !self.held.is_empty()
    }

    /// Sends a message, unless it is one that ends connections, or has to wait for one that may be.
    pub(super) fn deliver(&mut self, ticket: Ticket, message: Arc<Outgoing>) {
        if self.is_guilty(&message) {
            let reason = "the broker ends the connection whenever it gets this message; look into its log";
            self.outcomes.push((ticket, Outcome::Refused(reason.to_owned())));
            self.acquit();
        } else if self.waits(ticket, &message) {
            self.held.push_back((ticket, message));
        } else {
            self.send(ticket, message);
        }
    }

    fn send(&mut self, ticket: Ticket, message: Arc<Outgoing>) {
        let Some(client) = self.session.client.get() else { return };
        match self.publisher.send(client, &message) {
            Sent::Out(qos, token) => {
                self.counts.published += 1;
                self.parts.counters.published.add(1);
                self.window.push(qos, ticket, message, token);
            }
            Sent::Settled(outcome) => self.outcomes.push((ticket, outcome)),
            Sent::Broken(error) => {
                self.broken.get_or_insert_with(|| error.to_string());
            }
        }
    }

    pub(super) fn id(&self, message: &Outgoing) -> String {
        message.id(&self.parts.identity.gateway_id)
    }

    fn is_guilty(&self, message: &Outgoing) -> bool {
        matches!(&self.verdict, Verdict::Guilty(id) if *id == self.id(message))
    }
}
