//! A process that cleans up after this one, however this one ends.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Waits for the end of this process, also by Ctrl-C or `kill -9`, and runs a script then.
#[derive(Debug)]
pub struct Janitor(Child);

impl Janitor {
    /// Hires one who runs `script`, a shell's, with `arguments` when this is dropped or its process
    /// ends. It gets what it is told on its standard input, and must read that to its end first.
    ///
    /// `lock` is held until it is done: that of an earlier run is waited for, as it would take away
    /// what is new.
    ///
    /// # Errors
    /// If another one holds the lock for longer than a minute, or it cannot be started.
    pub fn hire(lock: &Path, script: &str, arguments: &[&OsStr]) -> Result<Self> {
        let mut flock = Command::new("flock");
        flock.args(["-w", "60"]).arg(lock).arg("true");
        let free = flock.status().context("cannot run flock")?.success();
        ensure!(free, "another run goes on here: it holds {lock:?}");
        let script = format!("exec 9> \"$1\"; flock 9; shift\necho ready\n{script}");
        let mut child = Command::new("sh")
            .args([OsStr::new("-c"), OsStr::new(&script), OsStr::new("janitor"), lock.as_os_str()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A group of its own: a Ctrl-C at the terminal is not for it.
            .process_group(0)
            .spawn()
            .context("cannot start what cleans up")?;
        let mut ready = [0; 6];
        let said = child.stdout.take().map(|mut out| out.read_exact(&mut ready));
        ensure!(matches!(said, Some(Ok(()))), "what cleans up did not start");
        Ok(Self(child))
    }

    /// Tells it a line.
    ///
    /// # Errors
    /// If it is gone.
    pub fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.0.stdin.as_mut().context("what cleans up hears nothing")?;
        writeln!(input, "{line}").context("what cleans up is gone")
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            eprintln!("cannot wait for what cleans up: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_does_as_it_was_told_when_it_is_over() {
        let folder = crate::product::target_folder().join("tests");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("janitor-{}", std::process::id()));
        let lock = path.with_extension("lock");
        let script = "cat > \"$1\"";
        let mut janitor = Janitor::hire(&lock, script, &[path.as_os_str()]).unwrap();
        janitor.tell("one").unwrap();
        janitor.tell("two").unwrap();
        drop(janitor);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        std::fs::remove_file(path).unwrap();
        std::fs::remove_file(lock).unwrap();
    }
}
