//! What both framings have in common: bytes in, one request out; and around an answer, what belongs there.

use crate::{mbap, rtu};

/// How a PDU is wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// The MBAP header of Modbus/TCP.
    Mbap,
    /// Unit, PDU, CRC: serial lines, and TCP connections to serial servers.
    Rtu,
}

/// What an answer repeats of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// 0 over RTU, which has none.
    pub(crate) transaction: u16,
    pub(crate) unit: u8,
}

/// What the beginning of some bytes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded<'a> {
    /// A request, `length` bytes long in all.
    Frame { head: Head, pdu: &'a [u8], length: usize },
    /// So many bytes belong to no request.
    Skip(usize),
    /// Not enough bytes yet.
    Incomplete,
    /// No request will ever be found in this stream again.
    Broken,
}

impl Framing {
    pub(crate) fn decode(self, input: &[u8]) -> Decoded<'_> {
        match self {
            Self::Mbap => mbap::decode(input),
            Self::Rtu => rtu::decode(input),
        }
    }

    /// Appends what comes before an answer's PDU.
    pub(crate) fn begin(self, head: Head, out: &mut Vec<u8>) {
        match self {
            Self::Mbap => mbap::begin(head, out),
            Self::Rtu => out.push(head.unit),
        }
    }

    /// Completes the answer that begins at `start`.
    pub(crate) fn finish(self, start: usize, out: &mut Vec<u8>) {
        match self {
            Self::Mbap => mbap::finish(start, out),
            Self::Rtu => rtu::finish(start, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every request found in a stream that arrives in these pieces, and whether it broke.
    fn requests(framing: Framing, pieces: &[&[u8]]) -> (Vec<(Head, Vec<u8>)>, bool) {
        let (mut found, mut input) = (Vec::new(), Vec::new());
        for piece in pieces {
            input.extend_from_slice(piece);
            loop {
                match framing.decode(&input) {
                    Decoded::Frame { head, pdu, length } => {
                        found.push((head, pdu.to_vec()));
                        input.drain(..length);
                    }
                    Decoded::Skip(length) => drop(input.drain(..length)),
                    Decoded::Incomplete => break,
                    Decoded::Broken => return (found, true),
                }
            }
        }
        (found, false)
    }

    fn framed(framing: Framing, head: Head, pdu: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        framing.begin(head, &mut out);
        out.extend_from_slice(pdu);
        framing.finish(0, &mut out);
        out
    }

    fn framing() -> impl Strategy<Value = Framing> {
        prop_oneof![Just(Framing::Mbap), Just(Framing::Rtu)]
    }

    /// Requests of every shape that RTU can tell the length of.
    fn pdu() -> impl Strategy<Value = Vec<u8>> {
        let bytes = |count: usize| prop::collection::vec(any::<u8>(), count);
        let up_to = |count: usize| prop::collection::vec(any::<u8>(), 0..=count);
        prop_oneof![
            (1_u8..=6, bytes(4)).prop_map(|(function, data)| [vec![function], data].concat()),
            (15_u8..=16, bytes(4), up_to(246)).prop_map(|(function, head, data)| {
                [vec![function], head, vec![u8::try_from(data.len()).unwrap()], data].concat()
            }),
            (bytes(8), up_to(242)).prop_map(|(head, data)| {
                [vec![23], head, vec![u8::try_from(data.len()).unwrap()], data].concat()
            }),
            bytes(6).prop_map(|data| [vec![22], data].concat()),
            bytes(2).prop_map(|data| [vec![43, 14], data].concat()),
        ]
    }

    proptest! {
        #[test]
        fn any_split_of_any_bytes_gives_the_same_requests(
            framing in framing(),
            valid in prop::collection::vec((any::<u8>(), pdu()), 0..4),
            garbage in prop::collection::vec(any::<u8>(), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut stream: Vec<u8> = Vec::new();
            for (unit, pdu) in &valid {
                stream.extend(framed(framing, Head { transaction: 7, unit: *unit }, pdu));
            }
            stream.extend(garbage);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
            prop_assert_eq!(requests(framing, &pieces), requests(framing, &[&stream]));
        }

        #[test]
        fn requests_in_a_row_are_all_found(
            framing in framing(),
            valid in prop::collection::vec((any::<u8>(), pdu()), 1..5),
        ) {
            let head = |unit| Head { transaction: if framing == Framing::Mbap { 513 } else { 0 }, unit };
            let expected: Vec<_> = valid.into_iter().map(|(unit, pdu)| (head(unit), pdu)).collect();
            let stream: Vec<u8> = expected.iter().flat_map(|(h, pdu)| framed(framing, *h, pdu)).collect();
            prop_assert_eq!(requests(framing, &[&stream]), (expected, false));
        }

        #[test]
        fn garbage_never_panics_and_every_step_moves_on(
            framing in framing(),
            garbage in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut rest = &garbage[..];
            while let Decoded::Frame { length, .. } | Decoded::Skip(length) = framing.decode(rest) {
                prop_assert!((1..=rest.len()).contains(&length));
                rest = &rest[length..];
            }
        }
    }
}
