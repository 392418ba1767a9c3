//! Where peers find the current incarnation of an actor.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

/// A place that holds the addresses of whichever incarnation of an actor lives now.
///
/// A rebuilt actor has a new address; peers keep the slot and ask it each time. Empty while nobody lives.
pub struct Slot<T>(Arc<RwLock<Option<T>>>);

impl<T: Clone> Slot<T> {
    /// A slot with nobody in it.
    pub fn empty() -> Self {
        Self(Arc::new(RwLock::new(None)))
    }

    /// The current occupant's addresses.
    pub fn get(&self) -> Option<T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Moves in, and whoever was there out.
    pub fn set(&self, occupant: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(occupant);
    }

    /// Moves out.
    pub fn clear(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
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
