//! Whether the disk has room: looked at by the storage threads, read by control.

use cairn_files::{CutTail, Error, LogSpace};
use cairn_settings::{LogSettings, NodeCondition};
use cairn_wire::peer::pb;
use std::sync::{Arc, Mutex, PoisonError};

/// The room of a log's disk, as last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What the file system still has; 0 before it was first seen.
    pub free_bytes: u64,
    /// What the log uses.
    pub log_bytes: u64,
    /// What is to be kept free.
    pub reserve_bytes: u64,
    /// Whether clients' writes are to be refused.
    pub low: bool,
    /// What was cut from the log and is kept aside.
    pub tails: Arc<[CutTail]>,
    /// What the log writer waits for, while it waits.
    pub waits: Option<(NodeCondition, String)>,
}

impl Room {
    /// Whether clients' writes are to be refused from now on, if that is not what `was` says; says
    /// so in the log.
    pub fn turned(&self, was: &mut bool) -> Option<bool> {
        if self.low == *was {
            return None;
        }
        *was = self.low;
        let (free_bytes, reserve_bytes) = (self.free_bytes, self.reserve_bytes);
        match self.low {
            true => tracing::error!(free_bytes, reserve_bytes, "disk is low, no writes"),
            false => tracing::info!(free_bytes, reserve_bytes, "disk has room, writes go on"),
        }
        Some(self.low)
    }

    /// What a person should know of it.
    #[must_use]
    pub fn conditions(&self, group: &str) -> Vec<pb::Condition> {
        let condition = |reason: NodeCondition, message: String| pb::Condition {
            reason: reason.as_str().to_owned(),
            group: group.to_owned(),
            message,
        };
        let waits = self.waits.clone().map(|(reason, text)| condition(reason, text));
        let low = self.low.then(|| {
            let (free, reserve) = (self.free_bytes >> 20, self.reserve_bytes >> 20);
            let text = format!(
                "{free} MiB of disk are free, {reserve} MiB are to be kept free: as master this \
                 node refuses writes until there is room"
            );
            condition(NodeCondition::DiskLow, text)
        });
        waits.into_iter().chain(low).collect()
    }
}

/// The shared place of a [`Room`].
#[derive(Debug)]
pub(super) struct Watch {
    settings: LogSettings,
    room: Mutex<Room>,
}

impl Watch {
    pub(super) fn new(settings: LogSettings) -> Self {
        Self { settings, room: Mutex::default() }
    }

    pub(super) fn now(&self) -> Room {
        self.room.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Room)) {
        change(&mut self.room.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes note of a look at the disk. Once low, it takes an eighth more than the reserve to be
    /// admitted again, so that admission does not flap.
    pub(super) fn look(&self, space: Option<LogSpace>) {
        let Some(space) = space else { return };
        let reserve = self.settings.reserve_of(space.disk_bytes);
        let free = space.disk_free_bytes;
        // The writer takes the spare segment first and another is made a moment later; it is
        // missed only when there is no room for one.
        let no_spare = !space.spare_ready && free < self.settings.segment_bytes;
        self.change(|room| {
            let floor = if room.low { reserve + reserve / 8 } else { reserve };
            room.low = no_spare || free < floor;
            (room.free_bytes, room.reserve_bytes) = (free, reserve);
            (room.log_bytes, room.tails) = (space.log_bytes, space.tails.into());
        });
    }

    /// The writer waits because of `error`; `None`: it goes on.
    pub(super) fn waits(&self, error: Option<&Error>) {
        let waits = error.map(|error| {
            let reason = match error {
                Error::TailsFull { .. } => NodeCondition::CutTailsFull,
                _ => NodeCondition::DiskFull,
            };
            (reason, format!("the log waits: {error}"))
        });
        self.change(|room| room.waits = waits);
    }
}
