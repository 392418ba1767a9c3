//! The store, reached from an actor: each operation on a thread where waiting harms nobody.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::store::{SetAside, Store, StoreError, StoreSettings, StoreStats};

/// The store on disk.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<Store>>);

impl Disk {
    /// Opens the folder; damaged files are set aside and told.
    pub(super) async fn open(
        folder: PathBuf,
        settings: StoreSettings,
    ) -> Result<(Self, StoreStats, Vec<SetAside>), String> {
        let open = actix_rt::task::spawn_blocking(move || Store::open(&folder, settings));
        let opened = open.await.map_err(|error| error.to_string())?;
        let (store, set_aside) = opened.map_err(|error| error.to_string())?;
        let stats = store.stats();
        Ok((Self(Arc::new(Mutex::new(store))), stats, set_aside))
    }

    /// Runs an operation. Those that are begun together may run in any order.
    pub(super) fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + 'static {
        let store = Arc::clone(&self.0);
        let running = actix_rt::task::spawn_blocking(move || {
            operation(&mut store.lock().unwrap_or_else(PoisonError::into_inner))
        });
        async move {
            match running.await {
                Ok(outcome) => outcome,
                Err(error) => Err(StoreError::Io { path: PathBuf::from("spool"), reason: error.to_string() }),
            }
        }
    }
}
