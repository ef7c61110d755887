//! What a file held before each write that is not flushed, so that the write can be lost.

use crate::disk::DiskFile;
use std::io::{self, IoSlice};

/// One write.
#[derive(Debug)]
struct Write {
    number: u64,
    position: u64,
    /// What was there before; zeros where the file ended.
    before: Vec<u8>,
}

/// The writes of a file that are not flushed, in their order.
#[derive(Debug, Default)]
pub struct Unflushed {
    next: u64,
    writes: Vec<Write>,
}

impl Unflushed {
    /// Remembers what `bytes` bytes at `position` of `file` are before they are overwritten.
    ///
    /// # Errors
    /// As reading the file.
    pub fn remember<F: DiskFile>(
        &mut self,
        file: &F,
        position: u64,
        bytes: usize,
    ) -> io::Result<()> {
        let mut before = vec![0; bytes];
        file.read_at(&mut before, position)?;
        let number = self.next;
        self.next += 1;
        self.writes.push(Write { number, position, before });
        Ok(())
    }

    /// Forgets what is beyond the file's new end; its shortening is durable.
    pub fn shorten(&mut self, bytes: u64) {
        self.writes.retain_mut(|write| {
            let kept = bytes.saturating_sub(write.position);
            write.before.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
            !write.before.is_empty()
        });
    }

    /// Where the writes end now.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.next
    }

    /// Everything before `mark` is flushed.
    pub fn flushed(&mut self, mark: u64) {
        self.writes.retain(|write| write.number >= mark);
    }

    /// Loses some of the writes, in any order, and parts of others, as `seed` falls; how many.
    pub fn lose<F: DiskFile>(&mut self, file: &F, seed: &mut u64) -> usize {
        let mut lost = 0;
        for write in self.writes.drain(..).rev() {
            let bytes = write.before.len();
            let from = match draw(seed) % 4 {
                0 => bytes,
                1 => usize::try_from(draw(seed)).unwrap_or(0) % bytes.max(1),
                _ => 0,
            };
            if from < bytes {
                let position = write.position + from as u64;
                let undone = file.write_at(&mut [IoSlice::new(&write.before[from..])], position);
                undone.expect("what was written can be written again");
                lost += 1;
            }
        }
        lost
    }
}

fn draw(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *seed >> 33
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::real::{RealDisk, RealFile};

    fn file(folder: &tempfile::TempDir) -> RealFile {
        let file = RealDisk.create(&folder.path().join("f")).unwrap();
        file.allocate(64).unwrap();
        file
    }

    fn write(unflushed: &mut Unflushed, file: &RealFile, position: u64, bytes: &[u8]) {
        unflushed.remember(file, position, bytes.len()).unwrap();
        file.write_at(&mut [IoSlice::new(bytes)], position).unwrap();
    }

    fn content(file: &RealFile) -> Vec<u8> {
        let mut content = vec![0; 64];
        file.read_at(&mut content, 0).unwrap();
        content
    }

    #[test]
    fn what_is_flushed_is_never_lost_and_what_is_not_is_lost_sooner_or_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        let (mut all_lost, mut some_torn) = (false, false);
        for round in 1..200 {
            let mut unflushed = Unflushed::default();
            write(&mut unflushed, &file, 0, &[7; 16]);
            let mark = unflushed.mark();
            write(&mut unflushed, &file, 16, &[8; 16]);
            unflushed.flushed(mark);
            write(&mut unflushed, &file, 32, &[9; 16]);
            let mut seed = round;
            unflushed.lose(&file, &mut seed);
            let now = content(&file);
            assert_eq!(now[..16], [7; 16], "round {round}");
            let left = now[16..48].iter().filter(|byte| **byte != 0).count();
            all_lost |= left == 0;
            some_torn |= left % 16 != 0;
            file.write_at(&mut [IoSlice::new(&[0; 64])], 0).unwrap();
        }
        assert!(all_lost && some_torn);
    }

    #[test]
    fn a_write_over_another_one_falls_back_to_what_was_flushed_or_to_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        for round in 1..50 {
            let mut unflushed = Unflushed::default();
            file.write_at(&mut [IoSlice::new(&[1])], 5).unwrap();
            write(&mut unflushed, &file, 5, &[2]);
            write(&mut unflushed, &file, 5, &[3]);
            let mut seed = round;
            unflushed.lose(&file, &mut seed);
            assert!((1..=3).contains(&content(&file)[5]));
        }
    }

    #[test]
    fn a_shorter_file_does_not_grow_again_by_what_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let file = file(&folder);
        let mut unflushed = Unflushed::default();
        write(&mut unflushed, &file, 10, &[4; 40]);
        file.truncate(20).unwrap();
        unflushed.shorten(20);
        (1..20).for_each(|mut seed| _ = unflushed.lose(&file, &mut seed));
        assert_eq!(file.bytes().unwrap(), 20);
    }
}
