//! Messages that make a broker end the connection.
//!
//! A broker of 3.1.1 has no other way to refuse a message, and some of MQTT 5 do it too. Such a message comes
//! back with the next connection and would end it again, for ever. So the message that was the oldest when the
//! broker ended a connection is watched: when that happens again it is sent alone, and when that ends the
//! connection twice, it is refused. A connection only counts when the broker has taken the gateway's birth on
//! it: a broker that is ill isn't mistaken for one that dislikes a message.

/// What is thought of the message that the last connections ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Innocent,
    /// It may be the reason: the message of this id is to be sent alone.
    Suspect(String),
    /// It is: the message of this id isn't to be sent any more.
    Guilty(String),
}

/// Ends with the same oldest message after which it is sent alone …
const SUSPECT: u32 = 2;
/// … and after which it isn't sent any more.
const GUILTY: u32 = 4;

/// What the last connections ended with.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    oldest: Option<String>,
    ends: u32,
}

impl Suspicion {
    /// A connection ended by the broker's will, with this message as the oldest.
    pub(super) fn ended_with(&mut self, oldest: String) {
        if self.oldest.as_ref() != Some(&oldest) {
            *self = Self { oldest: Some(oldest), ends: 0 };
        }
        self.ends += 1;
    }

    /// The message has got through, or is gone.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.oldest {
            Some(oldest) if self.ends >= GUILTY => Verdict::Guilty(oldest.clone()),
            Some(oldest) if self.ends >= SUSPECT => Verdict::Suspect(oldest.clone()),
            _ => Verdict::Innocent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_first_suspected_and_then_refused() {
        let mut suspicion = Suspicion::default();
        let seen: Vec<_> = (0..4)
            .map(|_| {
                suspicion.ended_with("a".to_owned());
                suspicion.verdict()
            })
            .collect();
        let suspect = || Verdict::Suspect("a".to_owned());
        assert_eq!(seen, [Verdict::Innocent, suspect(), suspect(), Verdict::Guilty("a".to_owned())]);
    }

    #[test]
    fn another_message_or_an_acquittal_begins_anew() {
        let mut suspicion = Suspicion::default();
        for id in ["a", "a", "b"] {
            suspicion.ended_with(id.to_owned());
        }
        assert_eq!(suspicion.verdict(), Verdict::Innocent);
        suspicion.ended_with("b".to_owned());
        suspicion.clear();
        assert_eq!(suspicion.verdict(), Verdict::Innocent);
    }
}
