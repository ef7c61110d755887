//! INFO: the fields that tools read.

use crate::data::channels::Scope;
use crate::data::commands::connection::REDIS_VERSION;
use crate::data::commands::nodes::node_name;
use crate::data::commands::word;
use crate::data::server::Server;
use crate::memory::resident_bytes;
use cairn_logic::record::Role;
use cairn_resp::Args;
use std::collections::BTreeSet;
use std::fmt::Write;

const SECTIONS: [&str; 12] = [
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "commandstats",
    "errorstats",
    "latencystats",
    "cluster",
    "keyspace",
];

impl Server {
    /// `INFO [section …]`
    pub fn info(&mut self, index: usize, args: Args<'_>) {
        let asked: Vec<String> = args.from(1).iter().map(word).collect();
        let is = |word: &str| asked.iter().any(|name| name == word);
        let everything = is("all") || is("everything");
        let usual = asked.is_empty() || is("default");
        let mut text = String::new();
        for section in SECTIONS {
            let shown = usual && !matches!(section, "commandstats" | "latencystats");
            if everything || shown || is(section) {
                if !text.is_empty() {
                    text.push_str("\r\n");
                }
                self.info_section(section, &mut text);
            }
        }
        self.out(index).verbatim(*b"txt", text.as_bytes());
    }

    fn info_section(&self, section: &str, text: &mut String) {
        let mut title = section.to_owned();
        title[..1].make_ascii_uppercase();
        if section == "cpu" {
            title.make_ascii_uppercase();
        }
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: &dyn std::fmt::Display| {
            lines.push((name.to_owned(), value.to_string()));
        };
        match section {
            "server" => self.info_server(&mut put),
            "clients" => self.info_clients(&mut put),
            "memory" => self.info_memory(&mut put),
            "persistence" => {
                put("loading", &u8::from(self.core.loading || self.core.gap));
                put("rdb_changes_since_last_save", &0);
                put("rdb_bgsave_in_progress", &0);
                put("aof_enabled", &0);
            }
            "stats" => self.info_stats(&mut put),
            "replication" => self.info_replication(&mut put),
            "cpu" => info_cpu(&mut put),
            "commandstats" => self.info_commands(&mut put),
            "errorstats" => {
                for (word, count) in self.figures.errors() {
                    put(&format!("errorstat_{word}"), &format!("count={count}"));
                }
            }
            "latencystats" => self.info_spans(&mut put),
            "cluster" => put("cluster_enabled", &1),
            "keyspace" if self.core.keyspace.shown_len() > 0 => {
                let keys = self.core.keyspace.shown_len();
                put("db0", &format!("keys={keys},expires=0,avg_ttl=0"));
            }
            _ => {}
        }
        write!(text, "# {title}\r\n").expect("writing to a string succeeds");
        for (name, value) in lines {
            write!(text, "{name}:{value}\r\n").expect("writing to a string succeeds");
        }
    }

    fn info_server(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let uptime = self.core.now.since(self.core.started).as_secs();
        put("redis_version", &REDIS_VERSION);
        put("server_name", &"cairn");
        put("cairn_version", &env!("CARGO_PKG_VERSION"));
        put("redis_mode", &"cluster");
        put("os", &std::env::consts::OS);
        put("arch_bits", &usize::BITS);
        put("multiplexing_api", &"epoll");
        put("process_id", &std::process::id());
        put("run_id", &node_name(&self.core.view.routes.me));
        put("tcp_port", &self.port);
        put("server_time_usec", &(self.core.unix_ms * 1000));
        put("uptime_in_seconds", &uptime);
        put("uptime_in_days", &(uptime / 86_400));
        put("availability_zone", &self.core.config.zone.as_deref().unwrap_or_default());
    }

    fn info_clients(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let (mut biggest_in, mut biggest_out) = (0, 0);
        // Keys without which some that wait are told so.
        let mut needed = BTreeSet::new();
        for (_, conn) in self.net.conns() {
            let waiting = conn.waiting.iter().filter(|it| it.command.name == "xreadgroup");
            needed.extend(waiting.flat_map(|waiting| &waiting.keys));
            biggest_in = biggest_in.max(conn.input_bytes());
            biggest_out = biggest_out.max(conn.replies.pending_bytes());
        }
        put("connected_clients", &self.net.open());
        put("maxclients", &self.core.config.clients_max);
        put("client_recent_max_input_buffer", &biggest_in);
        put("client_recent_max_output_buffer", &biggest_out);
        put("tracking_clients", &self.tracking.counts()[0]);
        let blocked = self.waits.len() + self.blocked.len() + self.stalled.len();
        put("blocked_clients", &blocked);
        put("total_blocking_keys", &self.blocked.keys());
        put("total_blocking_keys_on_nokey", &needed.len());
    }

    fn info_memory(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let used = self.core.used_bytes();
        let rss = resident_bytes().unwrap_or(0);
        put("used_memory", &used);
        put("used_memory_human", &human(used));
        put("used_memory_rss", &rss);
        put("used_memory_rss_human", &human(rss));
        put("used_memory_dataset", &self.core.keyspace.used_bytes());
        let (scripts, texts) = self.scripts.as_ref().map_or((0, 0), |engine| engine.scripts());
        put("used_memory_scripts", &(texts + self.core.keyspace.libraries_bytes()));
        put("number_of_cached_scripts", &scripts);
        put("number_of_libraries", &self.core.keyspace.libraries().len());
        put("maxmemory", &self.core.config.memory_max_bytes);
        put("maxmemory_human", &human(self.core.config.memory_max_bytes));
        put("maxmemory_policy", &self.core.config.eviction.policy.name());
        let (pending, freed) = self.dropper.counts();
        put("lazyfree_pending_objects", &pending);
        put("lazyfreed_objects", &freed);
        put("mem_not_committed", &self.core.outgoing.outstanding_bytes());
    }

    fn info_stats(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let stats = &self.core.stats;
        put("total_connections_received", &stats.connections);
        put("total_commands_processed", &stats.commands);
        put("instantaneous_ops_per_sec", &self.rate);
        put("total_net_input_bytes", &stats.input_bytes);
        put("total_net_output_bytes", &stats.output_bytes);
        put("rejected_connections", &stats.refused);
        put("slowed_clients", &stats.slowed);
        put("expired_keys", &stats.expired);
        put("evicted_keys", &stats.evicted);
        let count = |scope| self.channels.names(scope).count();
        put("pubsub_channels", &count(Scope::Channel));
        put("pubsub_patterns", &count(Scope::Pattern));
        put("pubsubshard_channels", &count(Scope::Shard));
        put("lost_messages", &stats.lost_messages);
        let [_, keys, items, prefixes] = self.tracking.counts();
        put("tracking_total_keys", &keys);
        put("tracking_total_items", &items);
        put("tracking_total_prefixes", &prefixes);
        put("migrate_cached_sockets", &0);
        put("total_error_replies", &stats.errors);
        put("long_turns", &self.turns.long.iter().sum::<u64>());
        put("long_commands", &stats.long_commands);
        put("long_commands_running", &u8::from(self.core.keyspace.lent().is_some()));
        put("longest_turn_usec", &self.turns.longest.as_micros());
        put("unacknowledged_writes", &stats.noacks);
        put("appended_batches", &stats.batches);
    }

    fn info_commands(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        for (name, figure) in self.figures.known() {
            let micros = figure.time.as_micros();
            let each = figure.time.as_nanos() as f64 / 1000.0 / figure.calls.max(1) as f64;
            let line = format!(
                "calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
                figure.calls, figure.rejected, figure.failed
            );
            put(&format!("cmdstat_{name}"), &line);
        }
    }

    fn info_spans(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        for (name, figure) in self.figures.known() {
            let Some(spans) = &figure.spans else { continue };
            let [p50, p99, most] = [50.0, 99.0, 99.9].map(|percent| spans.percentile(percent));
            let line = format!("p50={p50:.3},p99={p99:.3},p99.9={most:.3}");
            put(&format!("latency_percentiles_usec_{name}"), &line);
        }
    }

    fn info_replication(&self, put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let routes = &self.core.view.routes;
        let group = self.core.view.home.and_then(|home| routes.groups.get(home));
        let offset = self.core.last.offset;
        if self.core.mastership.is_some() {
            put("role", &"master");
            let followers = group.map(|group| &group.nodes[..]).unwrap_or_default();
            let followers = || followers.iter().filter(|node| node.role != Role::Master);
            put("connected_slaves", &followers().filter(|node| node.alive).count());
            for (n, node) in followers().enumerate() {
                let state = if node.alive { "online" } else { "wait_bgsave" };
                let line = format!("ip={},port={},state={state}", node.host, node.port);
                put(&format!("slave{n}"), &format!("{line},offset={},lag=0", self.core.committed));
            }
        } else {
            let master = group.and_then(|group| group.master());
            put("role", &"slave");
            put("master_host", &master.map_or("", |node| node.host.as_str()));
            put("master_port", &master.map_or(0, |node| node.port));
            put("master_link_status", &if master.is_some() { "up" } else { "down" });
            put("slave_read_only", &1);
            put("slave_repl_offset", &offset);
            put("connected_slaves", &0);
        }
        put("master_repl_offset", &offset);
        put("epoch", &self.core.mastership.map_or(self.core.last.epoch, |m| m.epoch));
        put("committed_offset", &self.core.committed);
    }
}

fn info_cpu(put: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
    let (user, system) = cpu_seconds().unwrap_or_default();
    put("used_cpu_sys", &format!("{system:.6}"));
    put("used_cpu_user", &format!("{user:.6}"));
}

/// The process's user and system time, from the kernel.
fn cpu_seconds() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may have spaces in it.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let mut seconds = || Some(fields.next()?.parse::<f64>().ok()? / ticks);
    Some((seconds()?, seconds()?))
}

fn human(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "K", "M", "G"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes}B") } else { format!("{value:.2}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.2}T")
}
