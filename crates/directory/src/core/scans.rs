//! Long reads: in pieces, one after the other, so that neither the log nor other clients wait.

use super::{Core, Outbox, Refusal, Response};
use crate::directory::{Directory, Scan};
use crate::error::Error;
use cairn_logic::ids::Revision;
use cairn_logic::time::Instant;

/// Keys looked at when a request comes; most need no more.
const FIRST_PIECE: usize = 2_048;
/// Keys looked at in one tick, for all long reads together.
const KEYS_PER_TICK: usize = 10_000;
/// Long reads that may wait.
const SCANS_MAX: usize = 1_024;

/// What a scan is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// A range.
    Range {
        /// Whether it needs no proof of mastership.
        serializable: bool,
    },
    /// The hash of all keys.
    Hash,
}

/// A read that needs several pieces.
#[derive(Debug)]
pub(super) struct LongRead<T> {
    token: T,
    since: Instant,
    purpose: Purpose,
    /// The committed revision when it began: a watch from the next one on misses nothing.
    revision: Revision,
    scan: Scan,
}

impl<T> LongRead<T> {
    pub(super) fn into_token(self) -> T {
        self.token
    }
}

impl<T> Core<T> {
    pub(super) fn read_long(
        &mut self,
        now: Instant,
        token: T,
        purpose: Purpose,
        scan: Result<Scan, Error>,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        let serializable = !matches!(purpose, Purpose::Range { serializable: false });
        if !serializable && !self.is_master() {
            return outbox.reply(token, Err(Refusal::NotMaster));
        }
        let revision = self.committed;
        let mut scan = match scan {
            Ok(scan) => scan,
            Err(error) => {
                let found = Err(error);
                return self.answer_read(now, token, serializable, revision, found, outbox);
            }
        };
        match self.directory.scan(&mut scan, FIRST_PIECE) {
            Ok(true) => {
                let read = LongRead { token, since: now, purpose, revision, scan };
                self.finish_read(read, outbox);
            }
            Err(error) => {
                self.answer_read(now, token, serializable, revision, Err(error), outbox);
            }
            Ok(false) if self.scans.len() >= SCANS_MAX => {
                outbox.reply(token, Err(Refusal::TooManyRequests));
            }
            Ok(false) => {
                // Those that wait hold nothing.
                if !self.scans.is_empty() {
                    scan.restart();
                }
                let read = LongRead { token, since: now, purpose, revision, scan };
                self.scans.push_back(read);
            }
        }
    }

    /// Goes on with the long reads for a while.
    pub(super) fn scan_more(&mut self, outbox: &mut impl Outbox<Token = T>) {
        let mut keys_left = KEYS_PER_TICK;
        while keys_left > 0
            && let Some(mut read) = self.scans.pop_front()
        {
            let piece = keys_left.min(FIRST_PIECE);
            keys_left -= piece;
            match self.directory.scan(&mut read.scan, piece) {
                Ok(true) => self.finish_read(read, outbox),
                Ok(false) => self.scans.push_front(read),
                Err(error) => outbox.reply(read.token, Err(error.into())),
            }
        }
    }

    fn finish_read(&mut self, read: LongRead<T>, outbox: &mut impl Outbox<Token = T>) {
        let LongRead { token, since, purpose, revision, scan } = read;
        match purpose {
            Purpose::Range { serializable } => {
                let found = self.directory.finish_scan(scan).map(Response::Range);
                self.answer_read(since, token, serializable, revision, found, outbox);
            }
            Purpose::Hash => {
                let (hash, at) = (Directory::finish_hash(&scan), scan.at());
                let compacted = self.directory.compacted();
                let found = Ok(Response::Hash { hash, at, compacted });
                self.answer_read(since, token, true, revision, found, outbox);
            }
        }
    }

    /// Removes superseded versions that neither a long read nor a snapshot has to see.
    pub(super) fn sweep(&mut self, items_max: usize) {
        let export = self.export_reader();
        let oldest = self.scans.iter().map(|read| read.scan.at()).chain(export).min();
        self.sweeping = match oldest {
            // Some are kept for the reads, so there may be more to do after them.
            Some(reader) => {
                self.directory.sweep_behind(items_max, reader);
                true
            }
            None => !self.directory.sweep(items_max),
        };
    }

    /// Answers the long reads that `late` says have waited too long.
    pub(super) fn time_out_scans(
        &mut self,
        late: impl Fn(Instant) -> bool,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        while let Some(place) = self.scans.iter().position(|read| late(read.since)) {
            if let Some(read) = self.scans.remove(place) {
                outbox.reply(read.token, Err(Refusal::TimedOut));
            }
        }
    }

    /// Gives up all long reads; with `all` false only those that need a master.
    pub(super) fn drop_scans(
        &mut self,
        all: bool,
        refusal: Refusal,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        for read in std::mem::take(&mut self.scans) {
            let needs_master = matches!(read.purpose, Purpose::Range { serializable: false });
            if all || needs_master {
                outbox.reply(read.token, Err(refusal));
            } else {
                self.scans.push_back(read);
            }
        }
    }
}
