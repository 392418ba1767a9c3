//! Where peers find the current incarnation of an actor.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// A place that holds the addresses of whichever incarnation of an actor lives now.
///
/// A rebuilt actor has a new address; peers keep the slot and ask it each time. Empty while nobody lives.
pub struct Slot<T>(Arc<RwLock<Place<T>>>);

struct Place<T> {
    tenancy: u64,
    occupant: Option<T>,
}

impl<T: Clone> Slot<T> {
    /// The current occupant's addresses.
    pub fn get(&self) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).occupant.clone()
    }
}

impl<T> Slot<T> {
    /// Does something with the current occupant's addresses where they are: for what is done many times a
    /// second, as each copy of an address is one more sender. Must not move in or out meanwhile.
    pub fn with<R>(&self, use_it: impl FnOnce(&T) -> R) -> Option<R> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).occupant.as_ref().map(use_it)
    }

    /// A slot with nobody in it.
    pub fn empty() -> Self {
        Self(Arc::new(RwLock::new(Place { tenancy: 0, occupant: None })))
    }

    /// Moves in, and whoever was there out. Who moves in keeps the tenancy for as long as it lives.
    #[must_use = "the slot is empty again when the tenancy is dropped"]
    pub fn set(&self, occupant: T) -> Tenancy<T> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        place.tenancy += 1;
        place.occupant = Some(occupant);
        Tenancy { slot: self.clone(), number: place.tenancy }
    }
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slot")
    }
}

/// Empties its slot when dropped, unless somebody else has moved in since: an incarnation that was written
/// off on a thread that is stuck may be dropped long after its successor was built.
#[derive(Debug)]
pub struct Tenancy<T> {
    slot: Slot<T>,
    number: u64,
}

impl<T> Tenancy<T> {
    /// Whether nobody has moved in since.
    pub fn is_current(&self) -> bool {
        self.slot.0.read().unwrap_or_else(PoisonError::into_inner).tenancy == self.number
    }
}

impl<T> Drop for Tenancy<T> {
    fn drop(&mut self) {
        let mut place = self.slot.0.write().unwrap_or_else(PoisonError::into_inner);
        if place.tenancy == self.number {
            place.occupant = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_empty_when_its_occupant_is_gone() {
        let slot = Slot::empty();
        let tenancy = slot.set(1);
        assert_eq!((slot.get(), tenancy.is_current()), (Some(1), true));
        drop(tenancy);
        assert_eq!(slot.get(), None);
    }

    #[test]
    fn a_predecessor_that_goes_late_does_not_take_its_successor_with_it() {
        let slot = Slot::empty();
        let (old, new) = (slot.set(1), slot.set(2));
        assert!(!old.is_current() && new.is_current());
        drop(old);
        assert_eq!(slot.get(), Some(2));
    }
}
