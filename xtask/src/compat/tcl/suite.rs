//! The suite's folder, and one of its files run by its own runner.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::outcome::Outcome;
use super::skips::Skips;
use crate::product::target_folder;
use crate::run::{lines_of, which};

/// The variable that names the folder.
const VARIABLE: &str = "CAIRN_VALKEY_TESTS";
/// The folders whose files its runner knows.
const FOLDERS: [&str; 4] = ["unit", "unit/type", "unit/cluster", "integration"];

/// Valkey's test suite.
pub struct Suite {
    folder: PathBuf,
    logs: PathBuf,
}

/// A file of the suite, and what of it is not run.
pub struct TestFile {
    /// Its name, as `unit/type/list`.
    pub name: String,
    skipped: Vec<String>,
    denied: Vec<String>,
}

impl Suite {
    /// The suite in the folder that the environment names.
    ///
    /// # Errors
    /// If it is not there, or there is no Tcl.
    pub fn find() -> Result<Self> {
        let Some(folder) = std::env::var_os(VARIABLE) else {
            bail!(
                "{VARIABLE} is not set: put tests/, utils/ and src/ of valkey's tag 8.0.1 into a \
                 folder and name it"
            );
        };
        let folder = PathBuf::from(folder);
        let runner = folder.join("tests/test_helper.tcl");
        ensure!(runner.is_file(), "{VARIABLE}: there is no {runner:?}");
        ensure!(which("tclsh").is_some(), "there is no tclsh: install tcl (apt-get install tcl)");
        let logs = target_folder().join("compat-tcl");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {logs:?}"))?;
        Ok(Self { folder, logs })
    }

    /// Where the output of each file is kept.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// All its files, or those asked for, but for those left out.
    ///
    /// # Errors
    /// If a folder cannot be read, or a file that is asked for is not there.
    pub fn files(&self, asked: &[String], skips: &Skips) -> Result<Vec<TestFile>> {
        let mut names = Vec::new();
        for folder in FOLDERS {
            let path = self.folder.join("tests").join(folder);
            let entries =
                std::fs::read_dir(&path).with_context(|| format!("cannot read {path:?}"))?;
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                names.extend(name.strip_suffix(".tcl").map(|name| format!("{folder}/{name}")));
            }
        }
        names.sort_unstable();
        if let Some(missing) = asked.iter().find(|name| !names.contains(name)) {
            bail!("the suite has no file {missing:?}; one is named like {:?}", "unit/type/list");
        }
        let wanted =
            |name: &String| (asked.is_empty() && !skips.has_file(name)) || asked.contains(name);
        let files = names.into_iter().filter(wanted).map(|name| {
            let skipped = skips.tests_of(&name);
            TestFile { skipped, denied: skips.tags_of(&name), name }
        });
        Ok(files.collect())
    }

    /// Runs a file against a server, for `limit` at most.
    ///
    /// # Errors
    /// If the runner cannot be started, or its output not be kept.
    pub fn run(
        &self,
        file: &TestFile,
        server: &str,
        only: &[String],
        limit: Duration,
    ) -> Result<Outcome> {
        let log = self.logs.join(format!("{}.log", file.name.replace('/', "-")));
        let mut log = File::create(&log).with_context(|| format!("cannot write {log:?}"))?;
        let mut child = self.command(file, server, only)?.spawn().context("cannot run tclsh")?;
        let lines = lines_of(&mut child)?;
        let until = Instant::now() + limit;
        let mut outcome = Outcome::default();
        let stopped = loop {
            match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    writeln!(log, "{line}")?;
                    outcome.see(&line);
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break false,
                Err(mpsc::RecvTimeoutError::Timeout) => break true,
            }
        };
        // The runner's own helper is of its group, and may be at work in a test that never ends.
        if let Some(group) = Pid::from_raw(child.id() as i32) {
            kill_process_group(group, Signal::KILL).ok();
        }
        child.wait().context("cannot wait for tclsh")?;
        outcome.end(stopped);
        Ok(outcome)
    }

    fn command(&self, file: &TestFile, server: &str, only: &[String]) -> Result<Command> {
        let (host, port) = server.rsplit_once(':').context("a server has a host and a port")?;
        let mut tags = String::from("-slow");
        file.denied.iter().for_each(|tag| tags.extend([" -", tag]));
        let mut command = Command::new("tclsh");
        command.args(["tests/test_helper.tcl", "--host", host, "--port", port]);
        // What fails by a reply that is an error fails by itself then, not with all behind it.
        command.args(["--cluster-mode", "--singledb", "--durable", "--ignore-encoding"]);
        command.args(["--tags", &tags, "--single", &file.name]);
        for name in &file.skipped {
            command.args(["--skiptest", name]);
        }
        for name in only {
            command.args(["--only", name]);
        }
        command.current_dir(&self.folder).env_remove("TERM").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(command)
    }
}
