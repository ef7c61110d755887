//! Log lines as JSON, one object a line, with the same head in every program.
//!
//! The head is `time`, `level`, `node`, `keyspace`, `client`, `trace_id`, `target`, `message`, in
//! this order and always there, empty when it does not apply; an event's own fields follow. `node`
//! and `keyspace` are the program's; an event about another one has its own name for it. `client`
//! and `trace_id` come from the event.

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// What the program is, as far as it knows yet.
static HEAD: Mutex<Head> = Mutex::new(Head { node: String::new(), keyspace: String::new() });

#[derive(Debug, Default)]
struct Head {
    node: String,
    keyspace: String,
}

/// Sends every event to standard error from now on; `CAIRN_LOG` says which (absent: `info` and
/// above). To be called once, first of all.
pub fn start() {
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    lines.event_format(Lines).init();
}

/// The name of this node (or of the operator's replica), for all lines from now on.
pub fn set_node(node: &str) {
    node.clone_into(&mut HEAD.lock().unwrap_or_else(PoisonError::into_inner).node);
}

/// The keyspace that this node serves, for all lines from now on.
pub fn set_keyspace(keyspace: &str) {
    keyspace.clone_into(&mut HEAD.lock().unwrap_or_else(PoisonError::into_inner).keyspace);
}

/// The format of a line.
struct Lines;

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut fields = Fields::default();
        event.record(&mut fields);
        let head = HEAD.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, target) = (event.metadata().level().as_str(), event.metadata().target());
        let line = line(&time, level, target, &head, fields).map_err(|_| fmt::Error)?;
        drop(head);
        writeln!(out, "{line}")
    }
}

fn line(
    time: &str,
    level: &str,
    target: &str,
    head: &Head,
    mut fields: Fields,
) -> serde_json::Result<String> {
    let mut bytes = Vec::with_capacity(256);
    let mut json = serde_json::Serializer::new(&mut bytes);
    let mut map = json.serialize_map(None)?;
    map.serialize_entry("time", time)?;
    map.serialize_entry("level", level)?;
    map.serialize_entry("node", &head.node)?;
    map.serialize_entry("keyspace", &head.keyspace)?;
    for name in ["client", "trace_id"] {
        map.serialize_entry(name, &fields.take(name))?;
    }
    map.serialize_entry("target", target)?;
    map.serialize_entry("message", &fields.take("message"))?;
    for (name, value) in &fields.0 {
        // What a name of the head means must not depend on the event.
        match *name {
            "time" | "level" | "node" | "keyspace" | "target" => {
                map.serialize_entry(&format!("about_{name}"), value)?;
            }
            name => map.serialize_entry(name, value)?,
        }
    }
    map.end()?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An event's fields in their order.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn take(&mut self, name: &str) -> Value {
        let at = self.0.iter().position(|(known, _)| *known == name);
        at.map_or_else(|| Value::from(""), |at| self.0.remove(at).1)
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.name(), Value::from(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        // Writing to a string cannot fail; a `Debug` that fails leaves what it wrote.
        write!(text, "{value:?}").ok();
        self.0.push((field.name(), Value::from(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_head_first_and_the_same_keys_always() {
        let head = Head { node: "tweets-0-0".to_owned(), keyspace: "tweets".to_owned() };
        let fields = Fields(vec![
            ("message", Value::from("line \"opened\"\n")),
            ("node", Value::from("tweets-0-1")),
            ("took_ms", Value::from(7)),
            ("client", Value::from("10.0.0.1:5")),
        ]);
        assert_eq!(
            line("T", "INFO", "cairn_node", &head, fields).unwrap(),
            "{\"time\":\"T\",\"level\":\"INFO\",\"node\":\"tweets-0-0\",\"keyspace\":\"tweets\",\
             \"client\":\"10.0.0.1:5\",\"trace_id\":\"\",\"target\":\"cairn_node\",\
             \"message\":\"line \\\"opened\\\"\\n\",\"about_node\":\"tweets-0-1\",\"took_ms\":7}"
        );
        let empty = line("T", "WARN", "t", &Head::default(), Fields::default()).unwrap();
        let empty: Value = serde_json::from_str(&empty).unwrap();
        assert_eq!((&empty["client"], &empty["message"]), (&Value::from(""), &Value::from("")));
    }
}
