//! The vote on disk, with the boot id of the machine that wrote it.

use super::OpenError;
use cairn_files::{DoubleWriteFile, Folder, RealDisk};
use cairn_logic::ids::{Epoch, GroupId, Life};
use cairn_logic::replication::{Recovered, Vote};
use serde::{Deserialize, Serialize};

/// What the file holds, as JSON: a person can read it, and fields can be added.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredVote {
    sealed: Epoch,
    intact: bool,
    life: Life,
    reserved: u64,
    unflushed: bool,
    boot: String,
}

/// The vote of one member; two copies, both flushed.
pub struct VoteFile {
    file: DoubleWriteFile<RealDisk>,
    boot: String,
}

impl VoteFile {
    /// Opens the vote of `group`, or makes the vote of a blank member.
    ///
    /// # Errors
    /// Both copies bad, or a format that is not ours.
    pub fn open(
        folder: &Folder<RealDisk>,
        group: &GroupId,
        boot: &str,
    ) -> Result<(Self, StoredVote), OpenError> {
        let files = |source| OpenError::Files { group: group.clone(), source };
        // A log without its vote has forgotten what it promised: that is an error, not a blank.
        if let Some((file, payload)) = folder.open_vote(&RealDisk, group).map_err(files)? {
            let stored = serde_json::from_slice(&payload).map_err(|_| OpenError::Vote {
                group: group.clone(),
                why: "it is not the JSON of a vote",
            })?;
            return Ok((Self { file, boot: boot.to_owned() }, stored));
        }
        let blank = StoredVote {
            sealed: Epoch::ZERO,
            intact: true,
            life: Life::ZERO,
            reserved: 0,
            unflushed: false,
            boot: boot.to_owned(),
        };
        let path = folder.vote(group);
        let file = DoubleWriteFile::create(&RealDisk, &path, &encode(&blank)).map_err(files)?;
        Ok((Self { file, boot: boot.to_owned() }, blank))
    }

    /// Makes `vote` durable.
    ///
    /// # Errors
    /// A failed write or flush: the process must end.
    pub fn write(&mut self, vote: &Vote) -> cairn_files::Result<()> {
        let stored = StoredVote {
            sealed: vote.sealed,
            intact: vote.intact,
            life: vote.life,
            reserved: vote.reserved,
            unflushed: vote.unflushed,
            boot: self.boot.clone(),
        };
        self.file.write(&encode(&stored))
    }
}

fn encode(stored: &StoredVote) -> Vec<u8> {
    serde_json::to_vec(stored).expect("a vote is plain data")
}

/// What vote and log said at this start, for the replica to judge.
pub(super) fn recovered(
    stored: StoredVote,
    boot: &str,
    found: &cairn_files::Recovered,
) -> Recovered {
    let same_boot = stored.boot == boot;
    // Whole records behind a hole: after a power cut that is to be expected; without one, pages
    // were lost that the kernel still should have had.
    let lost_pages = found.torn.as_ref().is_some_and(|torn| torn.records_behind > 0);
    Recovered {
        same_boot,
        vote: Vote {
            sealed: stored.sealed,
            intact: stored.intact,
            life: stored.life,
            reserved: stored.reserved,
            unflushed: stored.unflushed,
        },
        before: found.before,
        epochs: found.epochs.clone(),
        last: found.last,
        flushed: found.flushed,
        clean: found.clean.filter(|_| found.stopped_cleanly()),
        failed_disk: found.untrusted || (lost_pages && same_boot),
        torn: found.torn.is_some(),
    }
}
