//! Reading: a few connections, each used by one blocking task at a time. Readers never wait for the writer.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::event_store::StoreError;
use crate::event_store::sqlite::file::LogFile;
use crate::event_store::sqlite::queries::Queries;

/// How many reads go on at once.
const READERS: usize = 4;

/// The connections for reading.
pub(super) struct Readers {
    file: LogFile,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(file: LogFile) -> Arc<Self> {
        Arc::new(Self { file, turns: Arc::new(Semaphore::new(READERS)), idle: Mutex::new(Vec::new()) })
    }

    /// Runs one read. It sees everything acknowledged before it was called.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Queries<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| self.file.errors.closed())?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            readers.run(query)
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(format!("a read did not end: {error}"))))
    }

    fn run<T>(&self, query: impl FnOnce(&Queries<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.connections().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.file.open_reader()?,
        };
        let answer = query(&Queries { connection: &connection, errors: &self.file.errors });
        if !self.turns.is_closed() {
            self.connections().push(connection);
        }
        answer
    }

    /// Ends reading: waits for those that read, and closes the connections.
    pub(super) async fn close(&self) {
        let all = u32::try_from(READERS).unwrap_or(u32::MAX);
        let last = self.turns.acquire_many(all).await;
        self.turns.close();
        drop(last);
        self.connections().clear();
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
