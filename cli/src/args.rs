//! The command line: sub-commands, options, examples.

use crate::backup::{ArchiveArgs, CreateArgs, WhichArgs};
use crate::recover::RebuildArgs;
use crate::restore::RestoreArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Cairn: run a data cluster, look at it, move it.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    propagate_version = true,
    after_help = "Examples:\n  \
        cairn up samples/local.yaml          start a cluster of local processes\n  \
        cairn status                         what runs, who is master, how far behind\n  \
        cairn failover tweets-0              hand a group's mastership over\n  \
        cairn down                           stop it; the data stays"
)]
pub struct Cli {
    /// Where a local cluster keeps its state, data and logs.
    #[arg(long, global = true, value_name = "DIR", default_value = ".cairn")]
    pub dir: PathBuf,
    /// Where a cluster on Kubernetes is.
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,
    /// A file that says who belongs to the cluster and how to call them, as the operator writes it
    /// for its own pods; then no cluster is looked for anywhere else.
    #[arg(long, global = true, value_name = "FILE", conflicts_with_all = ["namespace", "cluster"])]
    pub roster: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Where a cluster on Kubernetes is; any of these, or the name `kubectl cairn`, means that it is
/// there and not below `--dir`.
#[derive(Args, Clone, Debug, Default)]
pub struct KubernetesArgs {
    /// The namespace of a cluster on Kubernetes; absent: that of the current context.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The Cluster resource; absent: the only one there.
    #[arg(long, global = true, value_name = "NAME")]
    pub cluster: Option<String>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a cluster from custom resources, as local processes.
    #[command(after_help = "Examples:\n  \
        cairn up samples/local.yaml\n  \
        cairn up cluster.yaml tweets.yaml --dir /var/tmp/demo --port-base 21000\n  \
        cairn up samples/local.yaml --foreground      until Ctrl-C\n  \
        cairn up                                      the same cluster again, after `cairn down`")]
    Up(UpArgs),
    /// Stop the cluster gracefully, last started first; the data stays.
    #[command(after_help = "Examples:\n  cairn down\n  cairn down --purge --yes")]
    Down {
        /// Also delete all data, logs and state.
        #[arg(long)]
        purge: bool,
        /// Do not ask before deleting.
        #[arg(long)]
        yes: bool,
    },
    /// Show nodes, roles, epochs, lag and slots.
    #[command(after_help = "Examples:\n  cairn status\n  cairn status -o json | jq .groups\n  \
        cairn status -o json --digests | jq '.nodes[].logs[] | {group, applied, digest}'")]
    Status {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        /// Have every data node add up all its data, so that copies can be compared while nobody
        /// writes; seconds for some million keys.
        #[arg(long)]
        digests: bool,
    },
    /// Hand the mastership of a group to another member, without losing anything. The planner lets
    /// the group be for ten minutes then.
    #[command(after_help = "Examples:\n  cairn failover tweets-0\n  \
        cairn failover tweets-0 --to tweets-0-2")]
    Failover {
        /// The group, or `global` for the global plane.
        group: String,
        /// The member that is to become master; chosen by the judge if absent.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        /// How long to wait for it, in seconds.
        #[arg(long, default_value_t = 30)]
        timeout_sec: u64,
    },
    /// Show who owns which slots, and the moves that have not ended, with their progress.
    #[command(after_help = "Examples:\n  cairn slots\n  cairn slots -o json | jq .moves")]
    Slots {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Move slots, with all keys in them, to another group, while clients go on.
    #[command(after_help = "Examples:\n  cairn move 7 tweets-1\n  \
        cairn move 0-1023 tweets-1 --timeout-sec 600\n  \
        cairn move 0-8191 tweets-1 --timeout-sec 0      do not wait; see `cairn slots`")]
    Move {
        /// A slot, or the first and the last one: `7`, `0-1023`.
        slots: String,
        /// The group that is to own them.
        group: String,
        /// How long to wait for it, in seconds; 0: not at all. The moves go on all the same.
        #[arg(long, default_value_t = 300)]
        timeout_sec: u64,
    },
    /// Give up moves of slots: their sources go on to own them. What was switched stays.
    #[command(after_help = "Examples:\n  cairn cancel-move tweets 12\n  cairn cancel-move tweets")]
    CancelMove {
        /// The keyspace.
        keyspace: String,
        /// The number of the move, as `cairn slots` says it; absent: all that are under way.
        id: Option<u64>,
    },
    /// Change how many groups a keyspace has, or replicas per group, while clients go on.
    #[command(after_help = "Examples:\n  cairn scale tweets --groups 4\n  \
        cairn scale tweets --groups 2 --replicas 2\n  \
        kubectl scale keyspace/tweets --replicas=4      the same on Kubernetes")]
    Scale {
        /// The keyspace.
        keyspace: String,
        /// How many groups share its slots, 1 to 1024.
        #[arg(long, required_unless_present = "replicas")]
        groups: Option<u16>,
        /// Replicas per group.
        #[arg(long)]
        replicas: Option<u8>,
        /// How long to wait for it, in seconds; 0: not at all. It goes on all the same.
        #[arg(long, default_value_t = 300)]
        timeout_sec: u64,
    },
    /// Say what the planner does with a keyspace's slots and masters, stop it, or let it go on.
    #[command(after_help = "Examples:\n  cairn rebalance tweets --plan      changes nothing\n  \
        cairn rebalance tweets --pause\n  \
        cairn rebalance tweets --resume    also with what people have moved lately")]
    Rebalance {
        /// The keyspace.
        keyspace: String,
        /// What to do.
        #[command(flatten)]
        what: RebalanceArgs,
    },
    /// Say why a group is as it is: what it waits for, and for whom.
    #[command(after_help = "Examples:\n  cairn why tweets-0\n  cairn why global")]
    Why {
        /// The group, or `global` for the global plane.
        group: String,
    },
    /// Show what keeps a group from having a master; with --accept-loss, go on with what is left.
    #[command(after_help = "Examples:\n  cairn recover tweets-0\n  \
        cairn recover tweets-0 --accept-loss\n  \
        cairn recover global --accept-loss --node global-1\n  \
        cairn recover global --rebuild --from-node checkpoint-0\n  \
        cairn recover global --rebuild --from 00000000000000004711-3.snap --accept-loss")]
    Recover {
        /// The group, or `global` for the global plane.
        group: String,
        /// Go on, though acknowledged writes that only unreachable nodes hold are lost; asks first.
        #[arg(long)]
        accept_loss: bool,
        /// The global node that is to go on; absent: the one with the greatest log.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// Do not ask.
        #[arg(long, requires = "accept_loss")]
        yes: bool,
        /// How to make a directory again of which no global node has anything.
        #[command(flatten)]
        rebuild: RebuildArgs,
    },
    /// Keep a keyspace's snapshots and log in a folder or in S3-compatible storage, so that any
    /// moment of it can be restored.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Write a keyspace as it was at a moment into another, empty keyspace.
    #[command(after_help = "Examples:\n  \
        cairn restore --from /var/backups --keyspace tweets --into tweets2\n  \
        cairn restore --from s3://backups/cairn --key-file key --keyspace tweets \\\n    \
          --into tweets2 --at 2026-11-28T20:15:00Z\n\n\
        The keyspace is made before, as any other; it may have other groups.")]
    Restore(RestoreArgs),
    /// Show what each node is asked and what it holds.
    Top,
    /// List what Kubernetes noted of a cluster's resources and pods.
    Events,
    /// List the spares of every pool, and what each of them is for now.
    Pool {
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Have a node, or all nodes of a machine, empty: masters hand over, spares take the places of
    /// members, one group at a time, and it is not claimed. Without either: what is drained.
    #[command(after_help = "Examples:\n  cairn drain tweets-0-1\n  \
        cairn drain --machine rack-2 --timeout-sec 0      do not wait; see `cairn drain`\n  \
        cairn drain --machine rack-2 --undo\n  \
        kubectl drain MACHINE                             the same on Kubernetes")]
    Drain(DrainArgs),
    /// List the log tails that were cut and kept aside.
    Tails,
    /// Say what a file of a node's folder holds, and whether it is whole: a snapshot, a segment of
    /// a log or of a cut tail, a vote. The node may be running.
    #[command(after_help = "Examples:\n  \
        cairn inspect data/tweets-0-0/groups/tweets-0/log/00000000000000000001.seg\n  \
        cairn inspect --list data/tweets-0-0/groups/tweets-0/snapshots/*.snap")]
    Inspect {
        /// The file.
        file: PathBuf,
        /// Name each batch of a segment, each key of a snapshot.
        #[arg(long)]
        list: bool,
    },
    /// The snapshots there are, and whether each is whole.
    Checkpoint {
        #[command(subcommand)]
        what: Checkpoint,
    },
    /// Write all that support may want to know into a file: what the nodes say, resources, logs; no
    /// secrets and no keys or values.
    #[command(after_help = "Examples:\n  cairn report\n  cairn report -o /tmp/tweets.tar.gz")]
    Report {
        /// The file to write; absent: named after the cluster and the time, in this folder.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// How many of the last lines of each log to take.
        #[arg(long, default_value_t = 5000)]
        lines: usize,
    },
    /// Print the log of a node.
    #[command(after_help = "Examples:\n  cairn logs tweets-0-0\n  cairn logs supervisor -f")]
    Logs {
        /// The node, or `supervisor`.
        node: String,
        /// Go on as lines come, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,
        /// How many of the last lines to begin with.
        #[arg(long, visible_alias = "tail", default_value_t = 100)]
        lines: usize,
    },
    /// Stop a node gracefully; it stays stopped until `start`.
    Stop {
        /// The node.
        node: String,
    },
    /// Start a node that was stopped.
    Start {
        /// The node.
        node: String,
    },
    /// Kill a node's process (SIGKILL), as a crash would; it is started again.
    #[command(
        after_help = "Examples:\n  cairn kill tweets-0-0\n  cairn kill tweets-0-0 --stay-down"
    )]
    Kill {
        /// The node.
        node: String,
        /// Leave it dead until `start`.
        #[arg(long)]
        stay_down: bool,
    },
    /// Run the nodes of a cluster that `up` prepared; `up` starts this.
    #[command(hide = true)]
    Supervise,
    /// Become another program that is told to stop when its parent dies.
    #[command(hide = true)]
    ExecNode {
        /// The process that must be the parent.
        #[arg(long)]
        parent: i32,
        /// The program and its arguments.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<std::ffi::OsString>,
    },
}

/// What to do with snapshots.
#[derive(Debug, Subcommand)]
pub enum Checkpoint {
    /// List them: which node has which, of which log, after which entry, how large, how old, and
    /// how many committed entries behind the log.
    #[command(
        after_help = "Examples:\n  cairn checkpoint list                 what the nodes offer\n  \
        cairn checkpoint list data/tweets-0-0   what is in a folder, if its node runs or not\n  \
        kubectl exec tweets-0-0 -- cairn checkpoint list /var/lib/cairn"
    )]
    List {
        /// A node's folder, or one with nodes' folders below; absent: the nodes are asked, or, of a
        /// local cluster that is down, the folders are read.
        #[arg(value_name = "FOLDER")]
        path: Option<PathBuf>,
    },
    /// Have a snapshot of the directory or of a group written at once, and wait until it is
    /// durable.
    #[command(after_help = "Examples:\n  cairn checkpoint now\n  \
        cairn checkpoint now tweets-0\n  \
        kubectl cairn checkpoint now --node demo-checkpoint-0")]
    Now {
        /// The group, or `global` for the directory.
        #[arg(default_value = "global")]
        group: String,
        /// Who is to write it; absent: of the directory a checkpoint node, or a global replica if
        /// there is none; of a group its backup, or a replica.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
    },
    /// Read all of each; a byte that was changed or is missing is found.
    #[command(
        after_help = "Examples:\n  cairn checkpoint verify               all of a local cluster\n  \
        cairn checkpoint verify FILE.snap\n  \
        cairn checkpoint verify /mnt/copy-of-a-node\n  \
        cairn checkpoint verify --log global    fetched from each node that has one\n  \
        kubectl cairn checkpoint verify --node tweets-0-1"
    )]
    Verify {
        /// Snapshots, nodes' folders, or folders with nodes' folders below.
        #[arg(value_name = "PATH", conflicts_with_all = ["node", "log"])]
        paths: Vec<PathBuf>,
        /// Fetch what this node offers, into a temporary file: the newest of each log.
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// Fetch the newest of this log, a group or `global`, from each node that has one.
        #[arg(long, value_name = "LOG")]
        log: Option<String>,
    },
}

impl Checkpoint {
    /// Whether it is about named files, wherever the cluster is.
    pub fn is_about_files(&self) -> bool {
        match self {
            Self::List { path } => path.is_some(),
            Self::Verify { paths, .. } => !paths.is_empty(),
            Self::Now { .. } => false,
        }
    }
}

/// What to do with an archive.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Send a keyspace's newest snapshots and the log after them; run again, only what is new.
    #[command(after_help = "Examples:\n  \
        cairn backup create --keyspace tweets --to /var/backups\n  \
        head -c 32 /dev/urandom > key; chmod 600 key\n  \
        cairn backup create --keyspace tweets --to s3://backups/cairn --key-file key --follow")]
    Create(CreateArgs),
    /// List backups, and from when to when each can be restored.
    #[command(after_help = "Examples:\n  cairn backup list --from /var/backups")]
    List {
        /// Where they are.
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Of which keyspaces.
        #[command(flatten)]
        which: WhichArgs,
    },
    /// Read all that backups rest on, and name what is missing or was changed.
    #[command(after_help = "Examples:\n  cairn backup verify --from /var/backups")]
    Verify {
        /// Where they are.
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Of which keyspaces.
        #[command(flatten)]
        which: WhichArgs,
        /// Only this one; absent: all.
        #[arg(long, value_name = "ID")]
        backup: Option<String>,
    },
    /// Remove old backups, and what only they needed. The newest always stays.
    #[command(after_help = "Examples:\n  \
        cairn backup prune --from /var/backups --keep-days 14 --dry-run\n  \
        cairn backup prune --from s3://backups/cairn --keep-last 10 --keep-days 30")]
    Prune {
        /// Where they are.
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Of which keyspaces.
        #[command(flatten)]
        which: WhichArgs,
        /// Keep the last so many.
        #[arg(long, value_name = "COUNT")]
        keep_last: Option<usize>,
        /// Keep all that reach into the last so many days.
        #[arg(long, value_name = "DAYS")]
        keep_days: Option<u32>,
        /// Only say what would go.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Options of `cairn up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// YAML files with one Cluster, its Keyspaces and the Secrets they name; absent: as last time.
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Stay, print what happens, stop the cluster at Ctrl-C.
    #[arg(long)]
    pub foreground: bool,
    /// The node program; looked for beside this one, then in PATH.
    #[arg(long, value_name = "PATH")]
    pub node_binary: Option<PathBuf>,
    /// The first port to use; absent: free ports are chosen and remembered.
    #[arg(long, value_name = "PORT")]
    pub port_base: Option<u16>,
    /// How long to wait until every slot is served, in seconds.
    #[arg(long, default_value_t = 60)]
    pub timeout_sec: u64,
}

/// Options of `cairn drain`.
#[derive(Args, Debug)]
pub struct DrainArgs {
    /// The node; it goes on to run.
    #[arg(value_name = "NODE", conflicts_with = "machine")]
    pub node: Option<String>,
    /// All nodes that say they are on this machine, also those that will.
    #[arg(long, value_name = "NAME")]
    pub machine: Option<String>,
    /// It may be used again: what has not begun is not done, what has is ended or given back.
    #[arg(long)]
    pub undo: bool,
    /// How long to wait until no group counts on it, in seconds; 0: not at all. It goes on all the
    /// same.
    #[arg(long, default_value_t = 300)]
    pub timeout_sec: u64,
    /// How to print what is drained.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn options_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }
}

/// One of three.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct RebalanceArgs {
    /// Print what the planner would do, and why; changes nothing.
    #[arg(long)]
    pub plan: bool,
    /// Begin no moves and no handovers. Moves under way go on: `cairn cancel-move` gives them up.
    #[arg(long)]
    pub pause: bool,
    /// Go on, and forget what people have moved, cancelled or handed over lately.
    #[arg(long)]
    pub resume: bool,
}
