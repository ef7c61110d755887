//! Commands and subcommands by name, and which of them a request asks for.

use crate::category::Category;
use crate::table::{ROWS, Row};
use cairn_keyspace::command::{COMMANDS, Command};
use cairn_resp::Args;
use std::sync::LazyLock;

/// A command, or a subcommand of one, that rules can name; not all of them are there for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(u16);

/// How many there are.
pub(crate) const COUNT: usize = ROWS.len();

/// The name of each command of a node, by the command's number.
static OF_COMMANDS: LazyLock<Vec<Option<Name>>> =
    LazyLock::new(|| COMMANDS.iter().map(|command| Name::find(command.name.as_bytes())).collect());

impl Name {
    /// All, in their order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT).map(|at| Self(at as u16))
    }

    pub(crate) const fn row(self) -> &'static Row {
        &ROWS[self.0 as usize]
    }

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// In small letters, a bar before a subcommand.
    #[must_use]
    pub const fn text(self) -> &'static str {
        self.row().name
    }

    /// Whether it is in a category.
    #[must_use]
    pub const fn is_in(self, category: Category) -> bool {
        self.row().categories & category.bit != 0
    }

    /// The one of this name, in letters of any case.
    #[must_use]
    pub fn find(name: &[u8]) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let at = ROWS.binary_search_by(|row| row.name.as_bytes().cmp(&name)).ok()?;
        Some(Self(at as u16))
    }

    /// Whether it is a subcommand.
    #[must_use]
    pub fn is_subcommand(self) -> bool {
        self.text().contains('|')
    }

    /// Its subcommands.
    pub fn subcommands(self) -> impl Iterator<Item = Self> {
        let own = self.text();
        let of_it = move |name: &Self| {
            name.text().strip_prefix(own).is_some_and(|rest| rest.starts_with('|'))
        };
        Self::all().skip(self.index() + 1).take_while(of_it)
    }

    /// What a request for `command` asks for: its subcommand, if it has one of that name, or the
    /// command itself.
    pub(crate) fn of(command: &Command, args: Args<'_>) -> Option<Self> {
        let name = OF_COMMANDS.get(usize::from(command.number)).copied().flatten()?;
        if !name.row().container || args.len() < 2 {
            return Some(name);
        }
        let asked = args.get(1);
        let skipped = name.text().len() + 1;
        let is_it = |sub: &Self| sub.text().as_bytes()[skipped..].eq_ignore_ascii_case(asked);
        Some(name.subcommands().find(is_it).unwrap_or(name))
    }
}

/// How a request is called where it is refused: with its subcommand, if it names one that is known.
#[must_use]
pub fn full_name(command: &Command, args: Args<'_>) -> &'static str {
    Name::of(command, args).map_or(command.name, Name::text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_resp::ArgsBuf;

    #[test]
    fn the_table_is_in_order_and_has_every_command_of_a_node() {
        assert!(ROWS.is_sorted_by(|a, b| a.name < b.name), "each name once, in order");
        let missing: Vec<&str> = COMMANDS
            .iter()
            .map(|command| command.name)
            .filter(|name| Name::find(name.as_bytes()).is_none())
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn containers_are_those_that_have_subcommands() {
        for name in Name::all() {
            let has = name.subcommands().next().is_some();
            assert_eq!(name.row().container, has, "{}", name.text());
        }
        let subcommands = Name::all().filter(|name| name.is_subcommand()).count();
        let found = Name::all().flat_map(Name::subcommands).count();
        assert_eq!(found, subcommands);
    }

    #[test]
    fn a_request_asks_for_its_subcommand() {
        let name = |words: &[&str]| {
            let args: ArgsBuf = words.iter().collect();
            let command = cairn_keyspace::command::lookup(words[0].as_bytes()).unwrap();
            full_name(command, args.as_args())
        };
        assert_eq!(name(&["CLIENT", "List"]), "client|list");
        assert_eq!(name(&["client", "nothing"]), "client");
        assert_eq!(name(&["client"]), "client");
        assert_eq!(name(&["get", "list"]), "get");
    }
}
