//! `cairn restore`: a keyspace as it was at a moment, written into another, empty one.
//!
//! Each group's data are built here as a replica builds them (snapshot, then log), and written with
//! ordinary commands, so the target may have other groups and slots. At the end the digests of what
//! was in the archive and of what is in the keyspace must be equal.

mod owners;
mod target;
mod tls;

use crate::backup::{ArchiveArgs, mib, now_ms, work};
use crate::place::Place;
use crate::print;
use anyhow::{Context, Result, bail, ensure};
use cairn_archive::{Archive, GroupPlan, State, moment, plan};
use cairn_logic::ids::{SLOTS, Slot};
use cairn_settings::report::RestoreReport;
use clap::Args;
use owners::Owners;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use target::{Entry, Login, Target};
use tls::Tls;

/// Between two lines that say how far it is.
const TELL: Duration = Duration::from_secs(2);
/// How long the digests may differ, for keys that expire meanwhile and for what is on its way.
const SETTLE: Duration = Duration::from_secs(30);

/// Options of `cairn restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// Where the backups are.
    #[command(flatten)]
    pub archive: ArchiveArgs,
    /// The keyspace that was backed up.
    #[arg(long, value_name = "NAME")]
    pub keyspace: String,
    /// The uid of its cluster, if several have such a keyspace there.
    #[arg(long, value_name = "UID")]
    pub of: Option<String>,
    /// The keyspace to write into; it must be there and hold nothing.
    #[arg(long, value_name = "NAME")]
    pub into: String,
    /// The moment, as 2026-11-28T20:15:00Z; absent: all that is in the newest backup.
    #[arg(long, value_name = "TIME", value_parser = read_moment)]
    pub at: Option<u64>,
    /// The user of the keyspace to write into, if it has users.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// A file with the password of the keyspace to write into, if it has one.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Speak TLS with the keyspace to write into, and trust those whose certificates are in this
    /// file.
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// The certificate to show there, if the keyspace wants one.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// A file for what it came to, as JSON.
    #[arg(long, value_name = "FILE")]
    pub result: Option<PathBuf>,
}

fn read_moment(text: &str) -> Result<u64, String> {
    moment::read(text).ok_or_else(|| "write it as 2026-11-28T20:15:00Z".to_owned())
}

/// Builds, writes, compares; says in a file what it came to, if there is to be one.
pub async fn restore(place: &Place, args: &RestoreArgs) -> Result<()> {
    let done = work_on(place, args).await;
    let Some(path) = &args.result else { return done.map(drop) };
    let report = match &done {
        Ok(report) => report.clone(),
        Err(error) => {
            RestoreReport { error: Some(format!("{error:#}")), ..RestoreReport::default() }
        }
    };
    let written = std::fs::write(path, report.to_json());
    done?;
    written.with_context(|| format!("all is restored, and {path:?} cannot be written"))
}

async fn work_on(place: &Place, args: &RestoreArgs) -> Result<RestoreReport> {
    let store = args.archive.open()?;
    let archive = Archive::find(store, &args.keyspace, args.of.as_deref()).await?;
    let plan = plan(&archive.backups().await?, args.at)?;
    let (_, plane) = place.open().await?;
    let entry = Entry { login: login(args)?, tls: tls(args)? };
    let mut target = Target::open(plane, &args.into, entry).await?;
    target.ensure_empty().await?;
    let into = &args.into;
    let until = args.at.map_or_else(|| "its end".to_owned(), moment::show);
    let (id, name) = (&plan.backup, &args.keyspace);
    print::line(format_args!("restoring {name} from backup {id} up to {until}"));
    let (mut restored, mut owners) = (Vec::new(), Owners::default());
    for group in &plan.groups {
        let mut state = build(&archive, group, plan.at_ms).await?;
        let expired = state.expire(now_ms());
        let keyspace = state.keyspace();
        let shown = (0..SLOTS).filter_map(|number| Slot::try_from(number).ok());
        let shown = shown.filter(|slot| keyspace.slot_len(*slot) > 0);
        owners.add(shown, keyspace.marks()).with_context(|| holds_a_part(into))?;
        let (keys, last) = (state.keyspace().len(), state.last());
        print::line(format_args!(
            "{}: up to entry {last}; {keys} keys, {expired} more have expired since",
            group.group
        ));
        target.write(&state).await.with_context(|| holds_a_part(into))?;
        restored.push(Restored::of(state));
    }
    owners.check().with_context(|| holds_a_part(into))?;
    let digest = compare(&target, &mut restored).await?;
    let keys: usize = restored.iter().map(Restored::keys).sum();
    print::line(format_args!("{into}: {keys} keys; digest {digest:016x} here and there"));
    Ok(RestoreReport {
        backup: plan.backup,
        moment_ms: plan.until_ms,
        keys: keys as u64,
        digest: format!("{digest:016x}"),
        error: None,
    })
}

fn holds_a_part(into: &str) -> String {
    format!("{into} now holds a part: empty it (FLUSHALL) before the next try")
}

/// How to speak TLS with the doors of clients, if at all.
fn tls(args: &RestoreArgs) -> Result<Option<Tls>> {
    let Some(authority) = &args.tls_ca else { return Ok(None) };
    let pair = args.tls_cert.as_deref().zip(args.tls_key.as_deref());
    Tls::read(authority, pair).map(Some)
}

fn login(args: &RestoreArgs) -> Result<Option<Login>> {
    let Some(path) = &args.password_file else { return Ok(None) };
    let text = std::fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read the password file {path:?}"))?;
    let password = text.trim_end_matches(['\r', '\n']).to_owned();
    ensure!(!password.is_empty(), "the password file {path:?} is empty");
    Ok(Some(Login { user: args.user.clone(), password }))
}

/// A group's data at the moment, from the archive.
async fn build(archive: &Archive, plan: &GroupPlan, at_ms: Option<u64>) -> Result<State> {
    let of = plan.snapshot.as_ref().map_or(0, |snapshot| snapshot.bytes)
        + plan.log.iter().map(|run| run.bytes).sum::<u64>();
    let mut told = Instant::now();
    let tell = |bytes| {
        if told.elapsed() >= TELL {
            told = Instant::now();
            print::line(format_args!("{}: {} of {} MiB read", plan.group, mib(bytes), mib(of)));
        }
    };
    Ok(archive.build(plan, at_ms, work()?.path(), tell).await?)
}

/// What must be in the keyspace now. Data in which nothing expires any more need not be kept.
enum Restored {
    Fixed { keys: usize, digest: u64 },
    Expiring(Box<State>),
}

impl Restored {
    fn of(state: State) -> Self {
        match state.keyspace().expiring() {
            0 => {
                let (keys, digest) = (state.keyspace().len(), state.keyspace().digest());
                Self::Fixed { keys, digest }
            }
            _ => Self::Expiring(Box::new(state)),
        }
    }

    fn keys(&self) -> usize {
        match self {
            Self::Fixed { keys, .. } => *keys,
            Self::Expiring(state) => state.keyspace().len(),
        }
    }

    fn digest(&mut self, now_ms: u64) -> u64 {
        match self {
            Self::Fixed { digest, .. } => *digest,
            Self::Expiring(state) => {
                state.expire(now_ms);
                state.keyspace().digest()
            }
        }
    }
}

/// Waits until the keyspace's digest is that of what was restored.
async fn compare(target: &Target, restored: &mut [Restored]) -> Result<u64> {
    let began = Instant::now();
    loop {
        let there = match target.digest().await {
            Err(error) if began.elapsed() > SETTLE => return Err(error),
            // A failover may be under way.
            Err(_) => {
                tokio::time::sleep(TELL / 4).await;
                continue;
            }
            Ok(there) => there,
        };
        // Each slot is in one group, here as there, and digests of slots add up.
        let now = now_ms();
        let here = restored.iter_mut().fold(0, |sum: u64, one| sum.wrapping_add(one.digest(now)));
        if here == there {
            return Ok(here);
        }
        if began.elapsed() > SETTLE {
            bail!(
                "the digests differ: {here:016x} was in the archive, {there:016x} is in the \
                 keyspace; somebody else writes there, or keys expire all the time"
            );
        }
        tokio::time::sleep(TELL / 4).await;
    }
}
