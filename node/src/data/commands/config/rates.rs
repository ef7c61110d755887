//! Parameters of Cairn alone: how many commands a second are executed.

use super::{between, failed};
use crate::data::link::Config;
use crate::data::rates::Rate;
use cairn_settings::COMMANDS_PER_SEC_MAX;

/// Those that there are, with their values; 0: as many as there come.
pub(super) fn shown(config: &Config) -> [(&'static str, String); 2] {
    let text = |rate: Option<Rate>| rate.map_or(0, Rate::commands).to_string();
    [
        ("client-commands-per-second", text(config.rates.client)),
        ("user-commands-per-second", text(config.rates.user)),
    ]
}

/// Sets one of them; none if it is not among them.
pub(super) fn set(config: &mut Config, name: &str, value: &[u8]) -> Option<Result<(), String>> {
    let rate = match name {
        "client-commands-per-second" => &mut config.rates.client,
        "user-commands-per-second" => &mut config.rates.user,
        _ => return None,
    };
    let most = COMMANDS_PER_SEC_MAX as usize;
    let commands = between(value, 0, most).map_err(|why| failed(name, &why));
    Some(commands.map(|commands| *rate = Rate::per_second(commands as u32)))
}
