//! The peer's side: Valkey with a replica that comes and goes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;

use super::trace::Span;
use crate::bench::server::{Peer, Server, field, free_address};

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A master, and where its replica is.
#[derive(Debug)]
pub struct Theirs {
    master: Peer,
    folder: PathBuf,
    address: SocketAddr,
    replica: Option<Peer>,
    replica_folder: PathBuf,
    replica_address: SocketAddr,
}

impl Theirs {
    /// Starts a master that holds nothing.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(folder: &Path, limit: Duration) -> Result<Self> {
        let (address, replica_address) = (free_address()?, free_address()?);
        let (folder, replica_folder) = (folder.join("master"), folder.join("replica"));
        let master = Peer::valkey_at(address, &folder, None, limit)?;
        Ok(Self { master, folder, address, replica: None, replica_folder, replica_address })
    }

    /// Who takes the writes.
    pub fn master(&self) -> &Server {
        &self.master.server
    }

    /// Starts the replica; returns when its link is up, and whether it got a whole copy.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn link(&mut self, limit: Duration) -> Result<(Span, bool)> {
        let whole_copies = || -> Result<u64> {
            field(&self.master.server.info("stats")?, "sync_full:").context("no sync_full in INFO")
        };
        let (before, began) = (whole_copies()?, Instant::now());
        let master = Some(&self.master.server);
        let (address, folder) = (self.replica_address, &self.replica_folder);
        let replica = Peer::valkey_at(address, folder, master, limit)?;
        let span = Span::since(began);
        let whole = whole_copies()? > before;
        self.replica = Some(replica);
        Ok((span, whole))
    }

    /// The processes that hold the keys, with their roles.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let replica = self.replica.iter().map(|one| ("Valkey, replica".to_owned(), one.server.pid));
        let master = ("Valkey, master".to_owned(), self.master.server.pid);
        std::iter::once(master).chain(replica).collect()
    }

    /// Bytes that the child which wrote the last snapshot had to copy because they were written
    /// meanwhile, as the server says.
    ///
    /// # Errors
    /// If it does not say so.
    pub fn copied_bytes(&self) -> Result<u64> {
        let info = self.master.server.info("persistence")?;
        field(&info, "rdb_last_cow_size:").context("INFO names no rdb_last_cow_size")
    }

    /// Kills the replica.
    pub fn unlink(&mut self) {
        self.replica = None;
    }

    /// Has the master write a snapshot beside its clients; when.
    ///
    /// # Errors
    /// If it fails, or takes too long.
    pub fn save(&self, limit: Duration) -> Result<Span> {
        let server = self.master();
        let began = Instant::now();
        let answer = server.ask(&[b"BGSAVE"])?;
        let text = answer.text().unwrap_or_default();
        ensure!(text.starts_with("Background saving"), "BGSAVE is answered by {text:?}");
        let mut good = false;
        let ended = wait_until(limit, LOOK_EVERY, || {
            let info = server.info("persistence").unwrap_or_default();
            good = info.contains("rdb_last_bgsave_status:ok");
            info.contains("rdb_bgsave_in_progress:0")
        });
        ensure!(ended && good, "BGSAVE did not end well");
        Ok(Span::since(began))
    }

    /// Starts the master again from the snapshot that was written last; seconds of its loading, as
    /// it says itself.
    ///
    /// # Errors
    /// If it does not start, or says nothing.
    pub fn restart(self, limit: Duration) -> Result<(Self, f64)> {
        let Self { master, folder, address, .. } = self;
        drop(master);
        let master = Peer::valkey_at(address, &folder, None, limit)?;
        let log = folder.join("log");
        let text = std::fs::read_to_string(&log).with_context(|| format!("no {log:?}"))?;
        let seconds = loaded_seconds(&text).with_context(|| format!("{log:?} says no time"))?;
        let (replica_folder, replica_address) = (self.replica_folder, self.replica_address);
        let again =
            Self { master, folder, address, replica: None, replica_folder, replica_address };
        Ok((again, seconds))
    }
}

/// The time in a line like `DB loaded from disk: 1.234 seconds`.
fn loaded_seconds(log: &str) -> Option<f64> {
    let rest = log.rsplit_once("DB loaded from disk: ")?.1;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_start_is_read() {
        let log =
            "7:M * Done loading RDB, keys loaded: 5\n7:M * DB loaded from disk: 0.016 seconds\n";
        assert_eq!(loaded_seconds(log), Some(0.016));
        assert_eq!(loaded_seconds("Ready to accept connections"), None);
    }
}
