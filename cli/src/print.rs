//! Prints to people, and asks them; a reader that has gone away (`cairn status | head`) is fine.

use anyhow::{Context, Result, bail, ensure};
use std::fmt::Display;
use std::io::{BufRead, IsTerminal, Write};

/// Prints a line.
pub fn line(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints text that ends its own lines.
pub fn text(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Has a person type `word` before what cannot be undone; an error says `refused` if it is another.
/// Without a terminal nobody is asked: then `why` is said, and that `--yes` confirms.
pub fn confirm(why: &str, question: &str, word: &str, refused: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("{why}: confirm with --yes");
    }
    eprint!("{question}");
    std::io::stderr().flush().context("cannot ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("cannot read the answer")?;
    ensure!(answer.trim() == word, "{refused}: the answer was not {word:?}");
    Ok(())
}
