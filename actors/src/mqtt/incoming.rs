//! Requests that arrive as messages, and their answers.
//!
//! Knows nothing of what is asked: that is the affair of whoever answers. MQTT 5 names a topic for the answer;
//! where none is named nothing is published, and the caller finds the result among the device's events.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, future::BoxFuture, stream::FuturesUnordered};
use mqtt::{Message, MessageBuilder, Properties, PropertyCode};
use paho_mqtt as mqtt;
use serde_json::json;

use crate::broker::{Answering, CommandRoutes, Reply, Request, TOO_MANY};

/// An answer on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) to: ReplyTo,
    pub(super) payload: Bytes,
}

/// Where an answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplyTo {
    pub(super) topic: String,
    correlation: Option<Vec<u8>>,
}

impl ReplyTo {
    /// Where a message wants its answer. A topic with wildcards can't be published on.
    fn of(message: &Message) -> Option<Self> {
        let properties = message.properties();
        let topic = properties.get_string(PropertyCode::ResponseTopic)?;
        let usable = !topic.is_empty() && !topic.contains(['+', '#', '\0']);
        let correlation = properties.get_binary(PropertyCode::CorrelationData);
        usable.then_some(Self { topic, correlation })
    }

    /// What the answer says beside its payload.
    pub(super) fn properties(&self) -> Properties {
        let mut properties = Properties::new();
        if let Some(correlation) = &self.correlation {
            // Can't fail: the property is of this kind.
            let _ = properties.push_binary(PropertyCode::CorrelationData, correlation.clone());
        }
        properties
    }
}

impl Answer {
    /// As a packet.
    pub(super) fn packet(&self, qos: u8) -> Message {
        MessageBuilder::new()
            .topic(self.to.topic.as_str())
            .payload(&*self.payload)
            .qos(i32::from(qos))
            .properties(self.to.properties())
            .finalize()
    }

    fn refusal(to: ReplyTo, reason: &str) -> Self {
        let payload = json!({ "status": "rejected", "error": reason }).to_string();
        Self { to, payload: payload.into() }
    }
}

/// What became of a message that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It isn't for the gateway.
    Foreign,
    /// The broker had kept it: nobody knows for how long.
    Stale,
    /// It is being answered.
    Pending,
    /// It can't be now; the answer says so, if one is wanted.
    Refused(Option<Answer>),
}

/// Requests that are being answered.
pub(super) struct Requests {
    session: Arc<str>,
    routes: Arc<dyn CommandRoutes>,
    answering: Answering,
    pending: FuturesUnordered<BoxFuture<'static, (Option<ReplyTo>, Reply)>>,
    /// Answers that were there at once.
    ready: VecDeque<(Option<ReplyTo>, Reply)>,
}

impl Requests {
    pub(super) fn new(session: Arc<str>, routes: Arc<dyn CommandRoutes>, answering: Answering) -> Self {
        let (pending, ready) = (FuturesUnordered::new(), VecDeque::new());
        Self { session, routes, answering, pending, ready }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len() + self.ready.len()
    }

    /// Takes a message in. Requests are begun in the order in which they arrived. Whoever answers refuses
    /// what is too much, with all that its sender and others must hear: here nothing is refused that was begun.
    pub(super) fn take(&mut self, message: &Message, stopping: bool) -> Taken {
        let Some((device_id, verb)) = self.routes.command(message.topic()) else { return Taken::Foreign };
        if message.retained() {
            return Taken::Stale;
        }
        let reply_to = ReplyTo::of(message);
        let refused = |to: Option<ReplyTo>, reason| Taken::Refused(to.map(|to| Answer::refusal(to, reason)));
        if stopping {
            return refused(reply_to, "the gateway is stopping");
        }
        let mut answer = (self.answering)(Request {
            session: Arc::clone(&self.session),
            topic: message.topic().into(),
            device_id,
            verb,
            payload: Bytes::copy_from_slice(message.payload()),
            wants_reply: reply_to.is_some(),
        });
        match answer.poll_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(reply) if reply.error.as_deref() == Some(TOO_MANY) => {
                return Taken::Refused(reply_to.map(|to| Answer { to, payload: reply.payload }));
            }
            Poll::Ready(reply) => self.ready.push_back((reply_to, reply)),
            Poll::Pending => self.pending.push(Box::pin(async move { (reply_to, answer.await) })),
        }
        Taken::Pending
    }

    /// The next answer that is there and wanted.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Answer> {
        loop {
            let next = self
                .ready
                .pop_front()
                .map_or_else(|| Pin::new(&mut self.pending).poll_next(cx), |ready| Poll::Ready(Some(ready)));
            match next {
                Poll::Ready(Some((Some(to), reply))) => return Some(Answer { to, payload: reply.payload }),
                Poll::Ready(Some((None, _))) => {}
                Poll::Ready(None) | Poll::Pending => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Routes;

    impl CommandRoutes for Routes {
        fn subscriptions(&self) -> Vec<String> {
            vec!["c/+/+".to_owned()]
        }

        fn command(&self, topic: &str) -> Option<(Option<String>, String)> {
            let (device, verb) = topic.strip_prefix("c/")?.split_once('/')?;
            Some((Some(device.to_owned()), verb.to_owned()))
        }
    }

    fn requests(answering: Answering) -> Requests {
        Requests::new("mqtt".into(), Arc::new(Routes), answering)
    }

    fn echo() -> Answering {
        Arc::new(|request| {
            Box::pin(async move { Reply { payload: request.payload, error: None } })
                as BoxFuture<'static, Reply>
        })
    }

    fn never() -> Answering {
        Arc::new(|_| Box::pin(std::future::pending()))
    }

    fn asking(response_topic: &str) -> Message {
        let mut properties = Properties::new();
        properties.push_string(PropertyCode::ResponseTopic, response_topic).expect("pushed");
        properties.push_binary(PropertyCode::CorrelationData, [7, 255]).expect("pushed");
        MessageBuilder::new().topic("c/press/write").payload("{}").properties(properties).finalize()
    }

    fn poll(requests: &mut Requests) -> Option<Answer> {
        requests.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_answer_goes_where_it_is_wanted_with_what_came() {
        let mut requests = requests(echo());
        assert_eq!(requests.take(&asking("my/answers"), false), Taken::Pending);
        let answer = poll(&mut requests).expect("an answer");
        assert_eq!((&*answer.to.topic, &*answer.payload), ("my/answers", &b"{}"[..]));
        assert_eq!(
            answer.to.properties().get_binary(PropertyCode::CorrelationData).map(|d| d.len()),
            Some(2)
        );
        assert_eq!(answer.to.correlation.as_deref(), Some(&[7, 255][..]));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn who_names_no_usable_topic_gets_no_answer() {
        let mut requests = requests(echo());
        for message in [asking("all/#"), asking("one/+"), Message::new("c/press/write", "{}", 1)] {
            assert_eq!(requests.take(&message, false), Taken::Pending);
            assert_eq!(poll(&mut requests), None);
        }
    }

    #[test]
    fn what_was_retained_is_stale_and_what_is_no_command_foreign() {
        let mut requests = requests(echo());
        assert_eq!(requests.take(&Message::new_retained("c/press/write", "{}", 1), false), Taken::Stale);
        assert_eq!(requests.take(&Message::new("other", "{}", 1), false), Taken::Foreign);
    }

    #[test]
    fn what_is_too_much_is_answered_with_the_refusal_of_whoever_answers() {
        let mut requests = requests(Arc::new(|_| {
            let refusal = Reply { payload: "too much".into(), error: Some(TOO_MANY.to_owned()) };
            Box::pin(async move { refusal })
        }));
        let Taken::Refused(Some(answer)) = requests.take(&asking("a"), false) else { panic!("not refused") };
        assert_eq!(&*answer.payload, b"too much");
        let plain = Message::new("c/press/write", "{}", 1);
        assert_eq!(requests.take(&plain, false), Taken::Refused(None));
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn what_was_begun_is_never_refused() {
        let mut requests = requests(never());
        for _ in 0..1000 {
            assert_eq!(requests.take(&asking("a"), false), Taken::Pending);
        }
        assert_eq!(requests.len(), 1000);
    }

    #[test]
    fn while_it_stops_nothing_is_begun() {
        let mut requests = requests(Arc::new(|_| panic!("begun")));
        let Taken::Refused(Some(answer)) = requests.take(&asking("a"), true) else { panic!("not refused") };
        let said: serde_json::Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(said, json!({ "status": "rejected", "error": "the gateway is stopping" }));
    }
}
