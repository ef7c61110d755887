//! The view kept in the folder, written in the background, at most once a second.

use crate::clock;
use cairn_files::RealDisk;
use cairn_files::{Folder, Result, RotateFile};
use cairn_global::View;
use cairn_logic::time::{Duration, Instant};
use std::sync::{Arc, Mutex, PoisonError};

/// Between two writes.
const INTERVAL: Duration = Duration::from_secs(1);

/// The file, and whether it is behind the view.
pub struct Cache {
    file: Arc<Mutex<RotateFile<RealDisk>>>,
    behind: bool,
    written: Instant,
}

impl Cache {
    /// The cache of `folder`, and the view it holds (empty if there is none).
    ///
    /// # Errors
    /// The file is of another format, or cannot be read.
    pub fn open(folder: &Folder<RealDisk>) -> Result<(Self, View)> {
        let (file, found) = RotateFile::open(&RealDisk, &folder.routes())?;
        let view = found.payload().map(|bytes| View::restore(&bytes)).unwrap_or_default();
        let file = Arc::new(Mutex::new(file));
        Ok((Self { file, behind: false, written: Instant::ZERO }, view))
    }

    /// The view has changed.
    pub fn changed(&mut self) {
        self.behind = true;
    }

    /// Writes the view, if it has changed and the last write is old enough.
    pub fn tick(&mut self, view: &View) {
        let now = clock::now();
        if !self.behind || now.since(self.written) < INTERVAL {
            return;
        }
        (self.behind, self.written) = (false, now);
        let (file, bytes) = (self.file.clone(), view.store());
        tokio::task::spawn_blocking(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = file.write(&bytes) {
                tracing::warn!(%error, "cannot keep the routes on disk");
            }
        });
    }
}
