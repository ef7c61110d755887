//! Running other programs: what is run is said, and a failure names the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, ensure};

/// A command that runs in the root of the repository.
pub fn command<I, S>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::root());
    command
}

/// The command as a person would type it.
pub fn line_of(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs to the end, with output passed on.
///
/// # Errors
/// If the program is not there, or fails.
pub fn check(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    println!("$ {line}");
    let status = command.status().with_context(|| format!("cannot run {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

/// Runs to the end and returns what was written to standard output.
///
/// # Errors
/// If the program is not there, fails, or writes something else than text.
pub fn read(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.output().with_context(|| format!("cannot run {line}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{line}: {}: {}", output.status, complaint.trim());
    String::from_utf8(output.stdout).with_context(|| format!("{line} wrote something else"))
}

/// Runs to the end, passes each line of standard output on and to `see`; whether it succeeded.
///
/// # Errors
/// If the program is not there.
pub fn watch(command: &mut Command, mut see: impl FnMut(&str)) -> Result<bool> {
    let line = line_of(command);
    println!("$ {line}");
    let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("cannot run {line}"))?;
    let output = child.stdout.take().context("standard output is a pipe")?;
    for text in BufReader::new(output).split(b'\n') {
        let text = text.with_context(|| format!("cannot read the output of {line}"))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        see(&text);
    }
    Ok(child.wait().with_context(|| format!("cannot wait for {line}"))?.success())
}

/// What a program prints, line by line as it comes, until it ends; its output must be a pipe.
///
/// # Errors
/// If it is none.
pub fn lines_of(child: &mut Child) -> Result<Receiver<String>> {
    let output = child.stdout.take().context("standard output is a pipe")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(std::io::Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

/// Where a program of this name would be found, if anywhere.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
