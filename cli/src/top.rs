//! `cairn top`: what each node is asked, and what it holds.

use crate::place::Place;
use crate::status::table;
use crate::view::View;
use anyhow::Result;

const MIB: f64 = (1 << 20) as f64;

/// One row per node.
pub async fn top(place: &Place) -> Result<String> {
    let (roster, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let mut rows = Vec::new();
    for node in &roster.nodes {
        let Some(said) = view.nodes.get(&node.id) else {
            let silent = "silent".to_owned();
            rows.push([
                node.id.to_string(),
                node.role.to_string(),
                silent.clone(),
                silent.clone(),
                silent.clone(),
                silent.clone(),
                silent,
            ]);
            continue;
        };
        let load = said.load.unwrap_or_default();
        rows.push([
            node.id.to_string(),
            node.role.to_string(),
            load.operations_per_sec.to_string(),
            load.keys.to_string(),
            load.clients.to_string(),
            format!("{:.1}", load.used_bytes as f64 / MIB),
            format!("{:.1}", said.rss_bytes as f64 / MIB),
        ]);
    }
    let heads = ["NODE", "ROLE", "OPS/S", "KEYS", "CLIENTS", "KEYS MIB", "RSS MIB"];
    Ok(table(&heads, &rows))
}
