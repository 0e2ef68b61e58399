//! Where an error happened: the part that is the same for everything on one connection.

use super::{Context, Error};

/// The server and the snapshot of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Location {
    pub(crate) server: Option<String>,
    pub(crate) snapshot: Option<String>,
}

impl Location {
    /// Names the place in an error.
    pub(crate) fn locate(&self, mut error: Error) -> Error {
        if let Some(server) = &self.server {
            error = error.with_context(Context::Server(server.clone()));
        }
        if let Some(snapshot) = &self.snapshot {
            error = error.with_context(Context::Snapshot(snapshot.clone()));
        }
        error
    }
}
