use bifrost_model::{TagClass, Timestamp};
use bytes::Bytes;

use super::*;
use crate::broker::Kind;

const NONE: [u64; 0] = [];

const WINDOW: Window = Window { messages: 3, bytes: 1 << 20, replay_messages: 3, replay_bytes: 1 << 20 };

fn outgoing(seq: u64) -> Outgoing {
    Outgoing {
        topic: "t".into(),
        payload: Bytes::from_static(b"{}"),
        kind: Kind::Telemetry,
        class: TagClass::Telemetry,
        retain: false,
        device: "press-1".into(),
        seq,
        values: 1,
        part: "".into(),
        made: Timestamp::from_micros(0),
        historical: false,
    }
}

fn message(seq: u64) -> Arc<Outgoing> {
    Arc::new(outgoing(seq))
}

fn block(seqs: std::ops::Range<u64>) -> Vec<Outgoing> {
    seqs.map(outgoing).collect()
}

fn numbers<'a>(batch: impl IntoIterator<Item = &'a (Ticket, Arc<Outgoing>)>) -> Vec<u64> {
    batch.into_iter().map(|(_, message)| message.seq).collect()
}

fn seqs(messages: &[Waiting]) -> Vec<u64> {
    messages.iter().map(|waiting| waiting.message.seq).collect()
}

#[test]
fn no_more_is_out_than_the_window_holds_and_order_is_kept() {
    let mut outbox = Outbox::default();
    (1..=5).for_each(|seq| outbox.push(message(seq)));
    let first = outbox.next(WINDOW, &mut 0);
    assert_eq!(numbers(&first), [1, 2, 3]);
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), NONE);
    outbox.settle(first[0].0, Outcome::Delivered);
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [4]);
}

#[test]
fn a_window_of_bytes_lets_one_large_message_through_and_no_second() {
    let mut outbox = Outbox::default();
    (1..=2).for_each(|seq| outbox.push(message(seq)));
    let narrow = Window { bytes: 1, ..WINDOW };
    assert_eq!(numbers(&outbox.next(narrow, &mut 0)), [1]);
    assert_eq!(numbers(&outbox.next(narrow, &mut 0)), NONE);
}

#[test]
fn what_is_out_when_the_connection_ends_goes_out_again_first_and_in_order() {
    let mut outbox = Outbox::default();
    (1..=5).for_each(|seq| outbox.push(message(seq)));
    let first = outbox.next(WINDOW, &mut 0);
    outbox.settle(first[1].0, Outcome::Delivered);
    outbox.recall();
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [1, 3, 4]);
}

#[test]
fn live_messages_go_before_those_from_disk() {
    let mut outbox = Outbox::default();
    assert!(!outbox.take_block(7, block(1..3)));
    outbox.push(message(9));
    let batch = outbox.next(WINDOW, &mut 10);
    assert_eq!(numbers(&batch), [9, 1, 2]);
}

#[test]
fn messages_from_disk_keep_to_their_budget() {
    let mut outbox = Outbox::default();
    outbox.take_block(7, block(1..4));
    let mut budget = 2;
    assert_eq!(numbers(&outbox.next(WINDOW, &mut budget)), [1, 2]);
    assert_eq!(budget, 0);
    assert_eq!(numbers(&outbox.next(WINDOW, &mut budget)), NONE);
}

#[test]
fn a_block_is_released_when_its_last_message_is_settled_whatever_the_outcome() {
    let mut outbox = Outbox::default();
    outbox.take_block(7, block(1..4));
    let batch = outbox.next(WINDOW, &mut 10);
    assert_eq!(outbox.settle(batch[2].0, Outcome::Delivered).released, None);
    let refused = outbox.settle(batch[0].0, Outcome::Refused("no".to_owned()));
    assert_eq!(refused.dead.map(|(message, reason)| (message.seq, reason)), Some((1, "no".to_owned())));
    assert_eq!(outbox.settle(batch[1].0, Outcome::Duplicate).released, Some(7));
    assert_eq!(outbox.settle(batch[1].0, Outcome::Delivered), Settling::default(), "nobody's");
}

#[test]
fn what_was_settled_of_a_block_is_not_sent_again_when_it_is_read_again() {
    let mut outbox = Outbox::default();
    outbox.take_block(7, block(1..4));
    let batch = outbox.next(WINDOW, &mut 10);
    outbox.settle(batch[1].0, Outcome::Delivered);
    outbox.recall();
    assert!(!outbox.has_in_hand(7));
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 10)), NONE, "let go until it is read again");
    assert!(!outbox.take_block(7, block(1..4)));
    let batch = outbox.next(WINDOW, &mut 10);
    assert_eq!(numbers(&batch), [1, 3]);
    outbox.settle(batch[0].0, Outcome::Delivered);
    assert_eq!(outbox.settle(batch[1].0, Outcome::Delivered).released, Some(7));
}

#[test]
fn a_message_on_disk_that_is_sent_live_releases_its_block_too() {
    let mut outbox = Outbox::default();
    outbox.begin_block(3, 2);
    (0..2).for_each(|index| outbox.queue(1, message(1 + u64::from(index)), Some(Place { block: 3, index })));
    assert!(outbox.has_in_hand(3));
    assert!(!outbox.has_bare());
    let batch = outbox.next(WINDOW, &mut 0);
    outbox.settle(batch[0].0, Outcome::Delivered);
    assert_eq!(outbox.settle(batch[1].0, Outcome::Delivered).released, Some(3));
}

#[test]
fn the_oldest_are_spilled_and_come_back_to_their_place_when_the_disk_does_not_take_them() {
    let mut outbox = Outbox::default();
    (1..=4).for_each(|seq| outbox.push(message(seq)));
    let spilled = outbox.spill(u64::MAX, usize::MAX, 2);
    assert_eq!(seqs(&spilled), [1, 2]);
    outbox.unspill(spilled);
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [1, 2, 3]);
}

#[test]
fn figures_and_descriptions_do_not_go_to_disk() {
    let mut outbox = Outbox::default();
    let figures = Outgoing { kind: Kind::Diagnostics, ..outgoing(0) };
    outbox.push(Arc::new(figures));
    outbox.push(message(1));
    assert_eq!(seqs(&outbox.take_everything()), [1]);
    assert!(outbox.is_idle());
}

#[test]
fn too_much_in_memory_is_shed_from_the_end_that_the_setting_names() {
    for (oldest, left) in [(true, vec![3, 4]), (false, vec![1, 2])] {
        let mut outbox = Outbox::default();
        (1..=4).for_each(|seq| outbox.push(message(seq)));
        let dropped = outbox.shed(outbox.live_bytes() / 2, oldest);
        assert_eq!(dropped.len(), 2);
        assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), left);
    }
}

#[test]
fn what_is_to_be_sent_again_goes_first_and_in_order() {
    let mut outbox = Outbox::default();
    (1..=4).for_each(|seq| outbox.push(message(seq)));
    let batch = outbox.next(WINDOW, &mut 0);
    for index in [1, 0] {
        assert!(outbox.settle(batch[index].0, Outcome::Again("busy".to_owned())).again);
    }
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [1, 2]);
}

/// Whatever happens in whichever order: nothing that was taken in is lost, and no block is released early.
#[test]
fn nothing_is_lost_whatever_the_order_of_events() {
    use proptest::prelude::*;
    proptest!(|(steps in proptest::collection::vec((0..8u8, any::<u8>()), 1..200))| {
        let mut outbox = Outbox::default();
        let mut model = Model::default();
        for (step, choice) in steps {
            model.step(&mut outbox, step, usize::from(choice));
        }
        model.drain(&mut outbox);
        model.check();
    });
}

/// A spool with a disk that is a list.
#[derive(Default)]
struct Model {
    next: u64,
    disk: Vec<(u64, Vec<u64>)>,
    newest: u64,
    read_up_to: u64,
    out: Vec<(Ticket, u64)>,
    delivered: std::collections::BTreeSet<u64>,
}

impl Model {
    fn step(&mut self, outbox: &mut Outbox, step: u8, choice: usize) {
        match step {
            0 => {
                self.next += 1;
                outbox.push(message(self.next));
            }
            1 => self.send(outbox),
            2 if !self.out.is_empty() => {
                let (ticket, seq) = self.out.remove(choice % self.out.len());
                self.delivered.insert(seq);
                let released = outbox.settle(ticket, Outcome::Delivered).released;
                self.release(released);
            }
            3 => {
                outbox.recall();
                self.out.clear();
                self.read_up_to = 0;
            }
            4 => {
                let spilled = outbox.spill(u64::MAX, usize::MAX, 1 + choice % 4);
                if !spilled.is_empty() {
                    self.append(seqs(&spilled));
                }
                outbox.spilled(&spilled).into_iter().for_each(|block| self.release(Some(block)));
            }
            5 => {
                let seqs: Vec<_> = (1..=1 + choice as u64 % 3).map(|at| self.next + at).collect();
                self.next += seqs.len() as u64;
                let block = self.append(seqs.clone());
                outbox.begin_block(block, seqs.len());
                for (index, seq) in (0..).zip(seqs) {
                    let came = outbox.number();
                    outbox.queue(came, message(seq), Some(Place { block, index }));
                }
            }
            6 => {
                if outbox.let_go() {
                    self.read_up_to = 0;
                }
            }
            _ => self.read(outbox),
        }
    }

    fn append(&mut self, seqs: Vec<u64>) -> u64 {
        let id = self.disk.last().map_or(0, |(id, _)| *id).max(self.newest) + 1;
        self.newest = id;
        self.disk.push((id, seqs));
        id
    }

    fn send(&mut self, outbox: &mut Outbox) {
        let batch = outbox.next(WINDOW, &mut 5);
        self.out.extend(batch.iter().map(|(ticket, message)| (*ticket, message.seq)));
    }

    fn read(&mut self, outbox: &mut Outbox) {
        let Some((id, seqs)) = self.disk.iter().find(|(id, _)| *id > self.read_up_to).cloned() else {
            return;
        };
        self.read_up_to = id;
        if !outbox.has_in_hand(id) && outbox.take_block(id, seqs.into_iter().map(outgoing).collect()) {
            self.release(Some(id));
        }
    }

    fn release(&mut self, released: Option<u64>) {
        let Some(released) = released else { return };
        let place = self.disk.iter().position(|(id, _)| *id == released).expect("a block that is there");
        let (_, seqs) = self.disk.remove(place);
        let elsewhere = |seq| self.disk.iter().any(|(_, seqs)| seqs.contains(seq));
        let safe = |seq| self.delivered.contains(seq) || elsewhere(seq);
        assert!(seqs.iter().all(safe), "released early: {seqs:?}");
    }

    fn drain(&mut self, outbox: &mut Outbox) {
        for _ in 0..1000 {
            self.read(outbox);
            self.send(outbox);
            while !self.out.is_empty() {
                self.step(outbox, 2, 0);
            }
        }
    }

    fn check(&self) {
        assert_eq!(self.delivered.len() as u64, self.next, "lost: {:?}", self.disk);
        assert!(self.disk.is_empty());
    }
}

fn secured() -> (Outbox, Vec<Ticket>) {
    let mut outbox = Outbox::default();
    (1..=5).for_each(|seq| outbox.push(message(seq)));
    outbox.next(WINDOW, &mut 0);
    let out = outbox.to_secure(usize::MAX, usize::MAX);
    assert_eq!(numbers(&out), [1, 2, 3]);
    (outbox, out.into_iter().map(|(ticket, _)| ticket).collect())
}

#[test]
fn what_is_out_can_be_on_disk_too_and_is_released_when_all_of_it_is_settled() {
    let (mut outbox, tickets) = secured();
    outbox.settle(tickets[0], Outcome::Delivered);
    assert_eq!(outbox.secured(7, &tickets), None, "two of it are still out");
    assert!(outbox.to_secure(usize::MAX, usize::MAX).is_empty() && outbox.has_in_hand(7));
    assert_eq!(outbox.settle(tickets[1], Outcome::Delivered).released, None);
    assert_eq!(outbox.settle(tickets[2], Outcome::Delivered).released, Some(7));
}

#[test]
fn what_was_settled_while_it_was_written_is_released_at_once() {
    let (mut outbox, tickets) = secured();
    for ticket in &tickets {
        drop(outbox.settle(*ticket, Outcome::Delivered));
    }
    assert_eq!(outbox.secured(7, &tickets), Some(7));
}

#[test]
fn what_was_recalled_while_it_was_written_goes_out_again_first_and_stands_for_itself_on_disk() {
    let (mut outbox, tickets) = secured();
    outbox.recall();
    assert_eq!(outbox.secured(7, &tickets), None);
    assert!(outbox.has_in_hand(7));
    let batch = outbox.next(WINDOW, &mut 0);
    assert_eq!(numbers(&batch), [1, 2, 3]);
    let released: Vec<_> =
        batch.iter().filter_map(|(ticket, _)| outbox.settle(*ticket, Outcome::Delivered).released).collect();
    assert_eq!(released, [7]);
}

/// Of a first, in memory alone, and a second, on disk too.
fn both_kinds() -> Outbox {
    let mut outbox = Outbox::default();
    outbox.push(message(1));
    outbox.begin_block(3, 1);
    let came = outbox.number();
    outbox.push(message(3));
    outbox.queue(came, message(2), Some(Place { block: 3, index: 0 }));
    outbox
}

#[test]
fn what_comes_back_from_the_disk_takes_its_place_among_what_came_after_it() {
    assert_eq!(numbers(&both_kinds().next(WINDOW, &mut 0)), [1, 2, 3]);
}

#[test]
fn what_is_spilled_goes_in_order_and_from_where_it_was_on_disk() {
    let mut outbox = both_kinds();
    let spilled = outbox.spill(u64::MAX, usize::MAX, 10);
    assert_eq!(seqs(&spilled), [1, 2, 3]);
    assert_eq!(outbox.spilled(&spilled), [3], "it is in the new block");
}

#[test]
fn what_the_disk_did_not_take_again_is_still_where_it_was() {
    let mut outbox = both_kinds();
    let spilled = outbox.spill(u64::MAX, usize::MAX, 10);
    outbox.unspill(spilled);
    assert!(outbox.let_go() && !outbox.has_in_hand(3));
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [1, 3]);
}

#[test]
fn a_short_interruption_keeps_in_hand_what_is_on_disk_unless_newer_ones_are_there_alone() {
    let mut outbox = both_kinds();
    outbox.next(WINDOW, &mut 0);
    assert!(!outbox.recall() && outbox.has_in_hand(3));
    let came = outbox.number();
    outbox.spilled(&[Waiting { first: false, ..Waiting::first(came, message(4)) }]);
    assert!(outbox.recall() && !outbox.has_in_hand(3));
}

#[test]
fn replayed_messages_leave_room_in_the_window() {
    let mut outbox = Outbox::default();
    outbox.take_block(1, block(1..4));
    let window = Window { replay_messages: 2, ..WINDOW };
    assert_eq!(numbers(&outbox.next(window, &mut 100)), [1, 2]);
    outbox.push(message(9));
    assert_eq!(numbers(&outbox.next(window, &mut 100)), [9]);
}

#[test]
fn only_what_came_before_is_spilled_with_something_that_must_be_on_disk() {
    let mut outbox = Outbox::default();
    (1..=2).for_each(|seq| outbox.push(message(seq)));
    let place = outbox.number();
    outbox.push(message(4));
    assert!(outbox.oldest().is_some_and(|oldest| oldest < place));
    assert_eq!(seqs(&outbox.spill(place, usize::MAX, 10)), [1, 2]);
    assert_eq!(numbers(&outbox.next(WINDOW, &mut 0)), [4]);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_is_given_up_only_after_long_and_keeps_nothing_back_then() {
    let mut outbox = Outbox::default();
    outbox.push(message(1));
    let begin = Instant::now();
    let dead = loop {
        let batch = outbox.next(WINDOW, &mut 0);
        assert_eq!(numbers(&batch), [1]);
        let settling = outbox.settle(batch[0].0, Outcome::Again("busy".to_owned()));
        if let Some(dead) = settling.dead {
            break dead;
        }
        assert!(settling.again && begin.elapsed() < LONGEST_TRIAL);
        tokio::time::advance(Duration::from_millis(500)).await;
    };
    assert!(begin.elapsed() >= LONGEST_TRIAL && dead.1.ends_with("busy"));
    assert!(outbox.is_idle());
}
