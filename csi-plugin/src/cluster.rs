//! The way to the cluster, shared by all calls.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use client::Client;

/// Which voter answered last is remembered, with the connection to it.
#[derive(Debug)]
pub(crate) struct Cluster {
    last: Mutex<Client>,
}

/// One call's way to the cluster.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    cluster: &'a Cluster,
    client: Client,
}

impl Cluster {
    pub fn new(control: &[String]) -> Self {
        Self { last: Mutex::new(Client::quiet(control, Duration::ZERO)) }
    }

    /// For a call that may take so long.
    pub fn ask(&self, time: Duration) -> Asking<'_> {
        let client = self.last.lock().unwrap_or_else(PoisonError::into_inner).anew(time);
        Asking { cluster: self, client }
    }
}

impl Deref for Asking<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Asking<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        *self.cluster.last.lock().unwrap_or_else(PoisonError::into_inner) = self.client.clone();
    }
}
