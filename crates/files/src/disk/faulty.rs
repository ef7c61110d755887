//! The disk of the machine, made to fail as a text file says: for fault tests on real processes.
//!
//! In builds with the feature `fault-disk` alone, which takes this for `RealDisk`; no product is
//! built with it. The variable `CAIRN_FAULTS` names the file ([`orders`] says what may be in it);
//! it is read again all the time. What was written and not flushed is remembered, so that a loss
//! of power can be played ([`unflushed`]): the process then ends, and [`boot_id`] is another one
//! when it starts again. Names of files are durable at once here.

pub mod orders;
pub mod unflushed;

use crate::disk::real::{RealDisk, RealFile, RealLock};
use crate::disk::{Disk, DiskFile, Listed};
use crate::lock;
use orders::Orders;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use unflushed::Unflushed;

/// Between two looks at the orders.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The file system of this machine, and what is ordered to go wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultyDisk;

/// A file of it.
#[derive(Debug)]
pub struct FaultyFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    real: RealFile,
    unflushed: Mutex<Unflushed>,
}

/// What all files of the process share.
#[derive(Debug, Default)]
struct World {
    path: Option<PathBuf>,
    orders: Mutex<Orders>,
    files: Mutex<Vec<Weak<Inner>>>,
    /// Held by every change of a file; by a loss of power alone for good.
    power: RwLock<()>,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    static WATCH: std::sync::Once = std::sync::Once::new();
    let world = WORLD.get_or_init(|| {
        let path = std::env::var_os("CAIRN_FAULTS").map(PathBuf::from);
        let world = World { path, ..World::default() };
        // What is ordered holds for the first access already.
        world.look();
        world
    });
    if world.path.is_some() {
        WATCH.call_once(|| {
            let watch = std::thread::Builder::new().name("faults".into());
            let started = watch.spawn(|| {
                loop {
                    world.look();
                    std::thread::park_timeout(LOOK_EVERY);
                }
            });
            drop(started.expect("a test's process can start a thread"));
        });
    }
    world
}

impl World {
    fn look(&self) {
        let Some(path) = &self.path else { return };
        let orders = Orders::parse(&std::fs::read_to_string(path).unwrap_or_default());
        if orders.power_lost {
            self.lose_power(path);
        }
        let mut now = lock(&self.orders);
        // A flush that failed once does not fail again by the same order.
        let spent = now.flush_error_spent && orders.flush_error_once;
        *now = Orders { flush_error_spent: spent, ..orders };
    }

    fn orders(&self) -> Orders {
        lock(&self.orders).clone()
    }

    fn lose_power(&self, path: &Path) -> ! {
        let _alone = self.power.write().unwrap_or_else(PoisonError::into_inner);
        let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let mut seed = seed.map_or(1, |since| since.as_nanos() as u64);
        let mut lost = 0;
        for file in lock(&self.files).iter().filter_map(Weak::upgrade) {
            lost += lock(&file.unflushed).lose(&file.real, &mut seed);
        }
        eprintln!("fault layer: power is lost, and {lost} writes with it");
        let boot = path.with_extension("boot");
        let done =
            std::fs::write(boot, format!("{seed:016x}")).and_then(|()| std::fs::write(path, ""));
        done.expect("the orders' folder can be written");
        std::process::abort()
    }

    fn add(&self, real: RealFile) -> FaultyFile {
        let inner = Arc::new(Inner { real, unflushed: Mutex::default() });
        let mut files = lock(&self.files);
        files.retain(|file| file.strong_count() > 0);
        files.push(Arc::downgrade(&inner));
        FaultyFile(inner)
    }
}

/// The boot id, changed by every loss of power that was played.
#[must_use]
pub fn boot_id(real: &str) -> String {
    let path = world().path.as_ref().map(|path| path.with_extension("boot"));
    let played = path.and_then(|path| std::fs::read_to_string(path).ok());
    match played {
        // As long as a real one.
        Some(text) if text.len() == 16 => format!("{}{text}", real.get(..20).unwrap_or_default()),
        _ => real.to_owned(),
    }
}

/// How far the wall clock is off, in milliseconds.
#[must_use]
pub fn clock_offset_ms() -> i64 {
    lock(&world().orders).clock_ms
}

fn refuse() -> io::Error {
    rustix::io::Errno::IO.into()
}

fn take(time: Duration) {
    if !time.is_zero() {
        std::thread::park_timeout(time);
    }
}

fn before_write(orders: &Orders) -> io::Result<()> {
    take(orders.slow);
    if orders.write_error { Err(refuse()) } else { Ok(()) }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;
    type Lock = RealLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn open(&self, path: &Path) -> io::Result<FaultyFile> {
        RealDisk.open(path).map(|file| world().add(file))
    }

    fn create(&self, path: &Path) -> io::Result<FaultyFile> {
        before_write(&world().orders())?;
        RealDisk.create(path).map(|file| world().add(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        before_write(&world().orders())?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn retire(&self, path: &Path) -> io::Result<()> {
        RealDisk.retire(path)
    }

    fn open_shared(&self, path: &Path) -> io::Result<FaultyFile> {
        RealDisk.open_shared(path).map(|file| world().add(file))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        RealDisk.list(path)
    }

    fn lock(&self, path: &Path) -> io::Result<RealLock> {
        RealDisk.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        if world().orders().full { Ok(0) } else { RealDisk.free_bytes(path) }
    }

    fn all_bytes(&self, path: &Path) -> io::Result<u64> {
        RealDisk.all_bytes(path)
    }
}

impl DiskFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        self.0.real.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if world().orders().read_error {
            return Err(refuse());
        }
        self.0.real.read_at(buffer, position)
    }

    fn write_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let orders = world().orders();
        before_write(&orders)?;
        let bytes: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if orders.full && position + bytes as u64 > self.0.real.bytes()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let _powered = world().power.read().unwrap_or_else(PoisonError::into_inner);
        let mut unflushed = lock(&self.0.unflushed);
        unflushed.remember(&self.0.real, position, bytes)?;
        self.0.real.write_at(buffers, position)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let orders = world().orders();
        before_write(&orders)?;
        if orders.full && bytes > self.0.real.bytes()? {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.real.allocate(bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        before_write(&world().orders())?;
        let _powered = world().power.read().unwrap_or_else(PoisonError::into_inner);
        let mut unflushed = lock(&self.0.unflushed);
        self.0.real.truncate(bytes)?;
        unflushed.shorten(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        while world().orders().stall {
            std::thread::park_timeout(LOOK_EVERY);
        }
        take(world().orders().slow);
        {
            let mut orders = lock(&world().orders);
            if orders.flush_error_once && !orders.flush_error_spent {
                orders.flush_error_spent = true;
                return Err(refuse());
            }
        }
        let up_to = lock(&self.0.unflushed).mark();
        self.0.real.sync()?;
        lock(&self.0.unflushed).flushed(up_to);
        Ok(())
    }
}
