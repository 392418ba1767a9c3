//! Whose turn it is: a place in the line is taken at once, by a call and not by a future's first poll, since an
//! actor polls its futures in no certain order.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

/// A line in which each waits for those before it.
#[derive(Debug, Default, Clone)]
pub(super) struct Turns(Rc<RefCell<Line>>);

#[derive(Debug, Default)]
struct Line {
    next: u64,
    /// The first has its turn.
    waiting: VecDeque<(u64, Option<Waker>)>,
}

/// A place in the line; dropped, it is the next one's turn.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    line: Rc<RefCell<Line>>,
}

impl Turns {
    /// The place behind all others.
    pub(super) fn line_up(&self) -> Place {
        let mut line = self.0.borrow_mut();
        let number = line.next;
        line.next += 1;
        line.waiting.push_back((number, None));
        Place { number, line: Rc::clone(&self.0) }
    }
}

impl Place {
    /// Resolves when nobody is before it any more.
    pub(super) async fn turn(&self) {
        poll_fn(|context| {
            let mut line = self.line.borrow_mut();
            match line.waiting.iter_mut().position(|(number, _)| *number == self.number) {
                None | Some(0) => Poll::Ready(()),
                Some(place) => {
                    line.waiting[place].1 = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut line = self.line.borrow_mut();
        line.waiting.retain(|(number, _)| *number != self.number);
        if let Some(waker) = line.waiting.front_mut().and_then(|(_, waker)| waker.take()) {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn has_turn(place: &Place) -> bool {
        place.turn().now_or_never().is_some()
    }

    #[test]
    fn turns_come_in_the_order_of_lining_up_whoever_looks_first() {
        let turns = Turns::default();
        let [first, second, third] = [(); 3].map(|()| turns.line_up());
        assert_eq!([&third, &second, &first].map(has_turn), [false, false, true]);
        drop(first);
        assert_eq!([&third, &second].map(has_turn), [false, true]);
        drop(second);
        assert!(has_turn(&third));
    }

    #[test]
    fn who_gives_up_lets_nobody_overtake() {
        let turns = Turns::default();
        let (first, second, third) = (turns.line_up(), turns.line_up(), turns.line_up());
        drop(second);
        assert!(!has_turn(&third));
        drop(first);
        assert!(has_turn(&third));
    }

    #[test]
    fn the_next_is_woken() {
        crate::testing::in_virtual_time(async {
            let turns = Turns::default();
            let (first, second) = (turns.line_up(), turns.line_up());
            let waiting = actix_rt::spawn(async move { second.turn().await });
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            drop(first);
            assert!(waiting.await.is_ok());
        });
    }
}
