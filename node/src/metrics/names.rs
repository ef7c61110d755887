//! The names, labels and meanings of all metrics of a node; docs/metrics.md is made from this.

/// What a metric counts up or shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows while the process runs.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// As Prometheus sees it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels; their values are from closed lists.
    pub labels: &'static [&'static str],
    /// Which roles have it.
    pub roles: &'static str,
    /// What it says, with its unit.
    pub help: &'static str,
}

const fn gauge(name: &'static str, roles: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], roles, help }
}

const fn counter(name: &'static str, roles: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels: &[], roles, help }
}

const fn labelled(
    name: &'static str,
    labels: &'static [&'static str],
    roles: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, roles, help }
}

const fn counted(
    name: &'static str,
    labels: &'static [&'static str],
    roles: &'static str,
    help: &'static str,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, roles, help }
}

const ALL: &str = "all";
const LOGS: &str = "data, global";
const DATA: &str = "data";
const GLOBAL: &str = "global";

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident = $metric:expr;)*) => {
        $($(#[$doc])* pub const $name: Metric = $metric;)*

        /// All metrics, in the order in which they are shown.
        pub const METRICS: &[Metric] = &[$($name),*];
    };
}

metrics! {
    /// Role and version.
    INFO = labelled("cairn_node_info", &["role", "version"], ALL, "Always 1.");
    /// Readiness.
    READY = gauge("cairn_node_ready", ALL, "Whether /readyz says yes: 1 or 0.");
    /// Memory.
    RESIDENT = gauge("cairn_node_resident_memory_bytes", ALL, "Memory of the process, in bytes.");
    /// Life.
    LIFE = gauge("cairn_node_life", LOGS, "How often this folder was started.");
    /// Conditions.
    CONDITION = labelled(
        "cairn_node_condition",
        &["reason"],
        LOGS,
        "Whether a condition of the node holds: 1 or 0.",
    );
    /// Room.
    DISK_FREE = gauge("cairn_node_disk_free_bytes", LOGS, "What the disk still has, in bytes.");
    /// Reserve.
    DISK_RESERVE = gauge(
        "cairn_node_disk_reserve_bytes",
        LOGS,
        "Free bytes below which clients' writes are refused.",
    );
    /// Log.
    LOG_BYTES = gauge("cairn_node_log_bytes", LOGS, "What the log holds, in bytes.");
    /// Bound.
    LOG_BOUND = gauge(
        "cairn_node_log_bound_bytes",
        LOGS,
        "What the log may hold, in bytes; at it clients' writes are refused.",
    );
    /// Front.
    LOG_BEFORE = gauge(
        "cairn_node_log_before_offset",
        LOGS,
        "The last offset that was given up: the log begins after it.",
    );
    /// Age.
    SNAPSHOT_AGE = gauge(
        "cairn_node_snapshot_age_seconds",
        LOGS,
        "Age of the newest good snapshot on this node; absent while there is none.",
    );
    /// Length.
    SNAPSHOT_BYTES = gauge("cairn_node_snapshot_bytes", LOGS, "Length of that file, in bytes.");
    /// Distance.
    SNAPSHOT_BEHIND = gauge(
        "cairn_node_snapshot_behind_entries",
        LOGS,
        "Entries of the log above that snapshot; all of the log while there is none.",
    );
    /// Duration.
    SNAPSHOT_SECONDS = gauge(
        "cairn_node_snapshot_duration_seconds",
        LOGS,
        "How long it took to write the last one that this process wrote.",
    );
    /// Broken ones.
    SNAPSHOTS_ASIDE = counter(
        "cairn_node_snapshots_set_aside_total",
        LOGS,
        "Snapshots set aside because they were broken or not of this log.",
    );
    /// Fetched.
    FETCH_BYTES = gauge(
        "cairn_node_fetch_bytes",
        LOGS,
        "What has come of the snapshot being fetched from another node; absent while none is.",
    );
    /// To be fetched.
    FETCH_TOTAL = gauge("cairn_node_fetch_expected_bytes", LOGS, "Length of that snapshot.");
    /// Position.
    POSITION = labelled(
        "cairn_node_position",
        &["position"],
        LOGS,
        "Whether the node is in this position of its log: 1 or 0.",
    );
    /// Epoch.
    EPOCH = gauge("cairn_node_epoch", LOGS, "The epoch of the last entry, or of its mastership.");
    /// Last.
    LAST = gauge("cairn_node_last_offset", LOGS, "The offset of the last entry in the log.");
    /// Committed.
    COMMITTED = gauge("cairn_node_committed_offset", LOGS, "The last offset known as committed.");
    /// Applied.
    APPLIED = gauge("cairn_node_applied_offset", LOGS, "The last offset in the state.");
    /// Silence.
    SILENCE = gauge(
        "cairn_node_master_silence_seconds",
        LOGS,
        "For how long this node has not heard its master; 0 at a master.",
    );
    /// Own lag.
    LAG = gauge("cairn_node_lag_entries", LOGS, "Entries of the master's log this node lacks.");
    /// Own lag.
    LAG_SECONDS = gauge("cairn_node_lag_seconds", LOGS, "Age of the oldest of those entries.");
    /// Members.
    MEMBERS = gauge("cairn_node_members", LOGS, "At the master: members that count.");
    /// Wanted.
    WANTED = gauge("cairn_node_members_wanted", LOGS, "At the master: members asked for.");
    /// Worst lag.
    MEMBERS_LAG = gauge(
        "cairn_node_members_lag_entries",
        LOGS,
        "At the master: entries that the slowest member lacks.",
    );
    /// The move that is under way.
    MOVE = gauge(
        "cairn_node_move_seconds",
        DATA,
        "At a group's master: for how long the move of slots from it has been under way; absent \
         while there is none.",
    );
    /// Commands.
    COMMANDS = counter("cairn_node_commands_total", DATA, "Commands executed.");
    /// Keys.
    KEYS = gauge("cairn_node_keys", DATA, "Keys held.");
    /// Memory of keys.
    KEYSPACE = gauge("cairn_node_keyspace_bytes", DATA, "Memory of keys and values, in bytes.");
    /// Clients.
    CLIENTS = gauge("cairn_node_clients", DATA, "Clients connected.");
    /// Connections.
    CONNECTIONS = counter("cairn_node_connections_total", DATA, "Clients that connected.");
    /// Refused.
    REFUSED = counter(
        "cairn_node_refused_clients_total",
        DATA,
        "Clients refused or closed because of a limit.",
    );
    /// Slowed.
    SLOWED = counter(
        "cairn_node_slowed_clients_total",
        DATA,
        "Times that a client waited because it asked for too many commands a second.",
    );
    /// Uncommitted.
    UNCOMMITTED = gauge(
        "cairn_node_uncommitted_bytes",
        DATA,
        "Appended and not yet committed, in bytes.",
    );
    /// NOACK.
    NOACKS = counter(
        "cairn_node_unacknowledged_writes_total",
        DATA,
        "Writes answered with NOACK: enough copies did not come in time.",
    );
    /// Checks.
    CHECKS = counter(
        "cairn_node_checks_total",
        DATA,
        "Parts of the data compared between members: checks written as master, and compared here.",
    );
    /// Differences.
    DIFFERENCES = counter(
        "cairn_node_differences_total",
        DATA,
        "Parts of this node's copy that differed from the master's.",
    );
    /// Repairs.
    REPAIRS = counter(
        "cairn_node_repairs_total",
        DATA,
        "Slots in which this node has replaced something by what the master has.",
    );
    /// Long turns.
    LONG_TURNS = counted(
        "cairn_node_long_turns_total",
        &["part"],
        DATA,
        "Turns of the data thread that took more than 20 ms, by what took most of that (control, \
         chores, commands, replies, moves, leisure): nobody is served meanwhile.",
    );
    /// Evicted.
    EVICTED = counter(
        "cairn_node_evicted_keys_total",
        DATA,
        "Keys deleted by this node as master, because memory was at its limit (maxmemory-policy).",
    );
    /// Lost messages.
    LOST_MESSAGES = counter(
        "cairn_node_lost_messages_total",
        DATA,
        "Messages of clients (PUBLISH) that had no room on their way to other nodes.",
    );
    /// Revision.
    REVISION = gauge("cairn_node_directory_revision", GLOBAL, "The directory's revision.");
    /// Keys.
    DIRECTORY_KEYS = gauge("cairn_node_directory_keys", GLOBAL, "Keys in the directory.");
    /// Bytes.
    DIRECTORY_BYTES = gauge("cairn_node_directory_bytes", GLOBAL, "Bytes of the directory.");
    /// Leases.
    LEASES = gauge("cairn_node_directory_leases", GLOBAL, "Leases in the directory.");
    /// Watches.
    WATCHES = gauge("cairn_node_directory_watches", GLOBAL, "Watches at this node.");
    /// Waiting.
    WAITING = gauge(
        "cairn_node_directory_waiting_requests",
        GLOBAL,
        "Requests to the directory that wait for a commit or a proof of mastership.",
    );
    /// Spares.
    SPARES = labelled(
        "cairn_node_spares",
        &["state"],
        GLOBAL,
        "Spares of all pools by state (idle, claimed, releasing, away, drained), at the global \
         master.",
    );
    /// Exhausted pools.
    POOLS_EXHAUSTED = gauge(
        "cairn_node_pools_exhausted",
        GLOBAL,
        "Pools with fewer idle spares than they should have, at the global master.",
    );
    /// Zones without enough spares.
    ZONE_SPARES_MISSING = labelled(
        "cairn_node_zone_spares_missing",
        &["zone"],
        GLOBAL,
        "Idle spares that a zone lacks of what pools should have in each (minIdlePerZone), at the \
         global master.",
    );
    /// Drained members.
    DRAINED = gauge(
        "cairn_node_drained_members",
        GLOBAL,
        "Nodes that are to be empty and still count in a group, at the global master.",
    );
}

/// The page that lists them all.
#[must_use]
pub fn page() -> String {
    let mut text = String::from(
        "# Metrics of a node\n\n\
         Every node serves `/metrics` (OpenMetrics text), `/livez`, `/readyz` and `/startupz` on \
         its metrics port, 9400 by default. This page is made from `node/src/metrics/names.rs` by \
         `cargo xtask codegen`.\n\n\
         * `/startupz`: files and ports are open and the control loop turns.\n\
         * `/livez`: the control loop turns, and on a data node the data thread does.\n\
         * `/readyz`: an idle data node; a master that serves; a member that has loaded its log, \
         hears its master and lags less than `lag.ageMax`; an acceptor. It says why not.\n\n\
         | metric | kind | labels | roles | meaning |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let (name, labels) = (metric.name, metric.labels.join(", "));
        let line =
            format!("| `{name}` | {kind} | {labels} | {} | {} |\n", metric.roles, metric.help);
        text.push_str(&line);
    }
    text
}
