//! A node's folder: locked, named, and never mistaken for another one.
//!
//! ```text
//! lock                      held while the process lives
//! identity                  format, cluster, node, incarnation; made once
//! vote, routes.0, routes.1  see the sub-paths below
//! acceptor                  if the node keeps a part of the arbiter's value
//! groups/<id>/vote          what the member promised (DoubleWriteFile)
//! groups/<id>/log/          segments, marks, tails/
//! groups/<id>/snapshots/    snapshots, a draft, one that is being received
//! ```

use crate::copy::{u32_at, u64_at};
use crate::disk::Disk;
use crate::double::DoubleWriteFile;
use crate::error::{Error, Result};
use crate::group::GroupFile;
use cairn_logic::ids::{GroupId, Incarnation, NodeId};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The format of folders this program makes and uses.
const FORMAT: u32 = 1;
/// format, uid, incarnation, length of the node's name.
const FIXED_BYTES: usize = 32;
/// Where the groups' files are.
const GROUPS: &str = "groups";
/// The longest node name, in bytes (Kubernetes' limit for a pod).
const NODE_BYTES_MAX: usize = 253;

/// A node's folder, ours alone until dropped.
#[derive(Debug)]
pub struct Folder<D: Disk> {
    path: PathBuf,
    incarnation: Incarnation,
    made: bool,
    _lock: D::Lock,
}

impl<D: Disk> Folder<D> {
    /// Locks the folder and checks whose it is; a blank one gets an identity, flushed, with
    /// `if_blank` (random) as its incarnation.
    ///
    /// # Errors
    /// [`Error::Locked`] if another process has it. [`Error::Foreign`], [`Error::Format`] if it
    /// is another cluster's or node's or format. [`Error::Missing`] if it holds data but has no
    /// identity. [`Error::Size`] if the node's name is too long.
    pub fn open_or_create(
        disk: &D,
        path: &Path,
        uid: u128,
        node: &NodeId,
        if_blank: Incarnation,
    ) -> Result<Self> {
        let name = node.as_str().as_bytes();
        if name.is_empty() || name.len() > NODE_BYTES_MAX {
            return Err(Error::Size {
                what: "node name",
                bytes: name.len() as u64,
                limit_bytes: NODE_BYTES_MAX as u64,
            });
        }
        disk.create_dir(path).map_err(Error::io("make folder", path))?;
        let lock_path = path.join("lock");
        let lock = disk.lock(&lock_path).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { path: path.to_owned() },
            _ => Error::io("lock", &lock_path)(error),
        })?;
        let identity = path.join("identity");
        let found = DoubleWriteFile::open_if_made(disk, &identity)?;
        let made = found.is_none();
        let incarnation = match found {
            Some((_, payload)) => check(&identity, &payload, uid, node)?,
            None => {
                check_blank(disk, path, &identity)?;
                DoubleWriteFile::create(disk, &identity, &encode(uid, node, if_blank))?;
                if_blank
            }
        };
        let groups = path.join(GROUPS);
        disk.create_dir(&groups).map_err(Error::io("make folder", &groups))?;
        Ok(Self { path: path.to_owned(), incarnation, made, _lock: lock })
    }

    /// Opens the vote of a group's member; `None` if this folder never was one.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no vote but a log: what was promised is forgotten, and the
    /// node must not go on as if it were blank. Else as [`DoubleWriteFile::open`].
    pub fn open_vote(
        &self,
        disk: &D,
        group: &GroupId,
    ) -> Result<Option<(DoubleWriteFile<D>, Vec<u8>)>> {
        let path = self.vote(group);
        let found = DoubleWriteFile::open_if_made(disk, &path)?;
        if found.is_none() && GroupFile::exists(disk, &self.log(group))? {
            return Err(Error::Missing { path, because: "the group has a log" });
        }
        Ok(found)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it was given when it was made.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Whether this call made it: the node is blank.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.made
    }

    /// The folder of one group's files.
    #[must_use]
    pub fn group(&self, group: &GroupId) -> PathBuf {
        self.path.join(GROUPS).join(file_name(group.as_str()))
    }

    /// The log of a group, a folder for [`crate::GroupFile`].
    #[must_use]
    pub fn log(&self, group: &GroupId) -> PathBuf {
        self.group(group).join("log")
    }

    /// The snapshots of a group, a folder for [`crate::Snapshots`].
    #[must_use]
    pub fn snapshots(&self, group: &GroupId) -> PathBuf {
        self.group(group).join("snapshots")
    }

    /// The vote of a group's member, a [`DoubleWriteFile`].
    #[must_use]
    pub fn vote(&self, group: &GroupId) -> PathBuf {
        self.group(group).join("vote")
    }

    /// The offset applied to the state machine, a [`crate::RotateFile`].
    #[must_use]
    pub fn applied(&self, group: &GroupId) -> PathBuf {
        self.group(group).join("applied")
    }

    /// What was cut from a group's log.
    #[must_use]
    pub fn tails(&self, group: &GroupId) -> PathBuf {
        crate::group::tails_folder(&self.log(group))
    }

    /// The acceptor's promise and value, a [`DoubleWriteFile`].
    #[must_use]
    pub fn acceptor(&self) -> PathBuf {
        self.path.join("acceptor")
    }

    /// The cached routes, a [`crate::RotateFile`].
    #[must_use]
    pub fn routes(&self) -> PathBuf {
        self.path.join("routes")
    }
}

/// A folder without identity must not hold what only a folder with one can.
fn check_blank<D: Disk>(disk: &D, path: &Path, identity: &Path) -> Result<()> {
    let listed = disk.list(path).map_err(Error::io("list", path))?;
    let ours = |name: &str| name == "acceptor" || name.starts_with("routes.");
    let groups = match disk.list(&path.join(GROUPS)) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("list", path)(error)),
    };
    if groups || listed.iter().any(|file| ours(&file.name)) {
        let because = "the folder holds data of a node";
        return Err(Error::Missing { path: identity.to_owned(), because });
    }
    Ok(())
}

fn encode(uid: u128, node: &NodeId, incarnation: Incarnation) -> Vec<u8> {
    let name = node.as_str().as_bytes();
    let length = u32::try_from(name.len()).expect("node names are short");
    let mut bytes = Vec::with_capacity(FIXED_BYTES + name.len());
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&uid.to_le_bytes());
    bytes.extend_from_slice(&incarnation.0.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(name);
    bytes
}

fn check(path: &Path, payload: &[u8], uid: u128, node: &NodeId) -> Result<Incarnation> {
    let foreign = |what, found: String, expected: String| {
        Err(Error::Foreign { path: path.to_owned(), what, found, expected })
    };
    let found_format = if payload.len() < FIXED_BYTES { 0 } else { u32_at(payload, 0) };
    if found_format != FORMAT {
        return Err(Error::Format { path: path.to_owned(), found: found_format, known: FORMAT });
    }
    let found_uid = u128::from_le_bytes(payload[4..20].try_into().expect("sixteen bytes"));
    if found_uid != uid {
        return foreign("cluster", format!("{found_uid:032x}"), format!("{uid:032x}"));
    }
    let found_node = String::from_utf8_lossy(&payload[FIXED_BYTES..]);
    if found_node != node.as_str() {
        return foreign("node", found_node.into_owned(), node.to_string());
    }
    Ok(Incarnation(u64_at(payload, 20)))
}

/// A name that is a file name on every system: other bytes than `A-Za-z0-9._-` become `%xx`.
fn file_name(name: &str) -> String {
    let mut safe = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if plain || (byte == b'.' && index > 0) {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02x}").expect("a string takes everything");
        }
    }
    safe
}

/// The running kernel's boot id: differs after every start of the machine.
///
/// # Errors
/// [`Error::Io`] if `/proc` is not there; then nothing can be said about the page cache.
pub fn boot_id() -> Result<String> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    #[cfg(feature = "fault-disk")]
    let text = crate::disk::faulty::boot_id(text.trim());
    Ok(text.trim().to_owned())
}
