//! `cairn tails`: what was cut from logs and kept aside until a person removes it.

use crate::place::Place;
use crate::status::table;
use crate::view::View;
use anyhow::Result;

/// Every kept tail of every node that answers, and the names of those that do not.
pub async fn tails(place: &Place) -> Result<String> {
    let (roster, plane) = place.open().await?;
    let view = View::take(None, &plane).await;
    let mut found = Vec::new();
    for (node, said) in &view.nodes {
        for log in &said.logs {
            found.extend(log.tails.iter().map(|tail| {
                [
                    node.to_string(),
                    log.group.clone(),
                    if tail.torn { "torn by a crash" } else { "cut" }.to_owned(),
                    format!("{}/{}", tail.epoch, tail.first),
                    tail.bytes.to_string(),
                    tail.file.clone(),
                ]
            }));
        }
    }
    let silent = roster.nodes.iter().filter(|node| !view.nodes.contains_key(&node.id));
    let silent: Vec<&str> = silent.map(|node| node.id.as_str()).collect();
    let mut text = match found.is_empty() {
        true => "no tails: nothing is kept that was cut from a log\n".to_owned(),
        false => {
            table(&["NODE", "GROUP", "WHY", "FROM", "BYTES", "FILE"], &found)
                + "in groups/<group>/log/tails of the node's data folder; remove a file when you \
                   need it no more\n"
        }
    };
    if !silent.is_empty() {
        text += &format!("not asked, because silent: {}\n", silent.join(", "));
    }
    Ok(text)
}
