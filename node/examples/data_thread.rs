//! Serves all slots from one data thread that commits at once and writes nothing: to measure the
//! hot path, apart from replication and files.
//!
//! `cargo run --profile fast --example data_thread -- [port] [confirm]`

#[path = "shared/alone.rs"]
mod alone;

use cairn_node::data::link::Reads;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().map_or(Ok(7777), |text| text.parse())?;
    let reads = if args.next().is_some() { Reads::Confirm } else { Reads::Lease };
    alone::control(alone::start(port, reads)?);
    Ok(())
}
