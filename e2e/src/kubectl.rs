//! Commands against a cluster, by kubectl alone: what a person would type is what is tested.

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A cluster, by its kubeconfig, and a namespace in it.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    namespace: String,
}

/// How a command ended.
#[derive(Debug)]
pub struct Answer {
    /// Whether it succeeded.
    pub succeeded: bool,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub complaint: String,
}

impl Kubectl {
    /// The cluster of a kubeconfig.
    pub fn new(kubeconfig: impl Into<PathBuf>, namespace: &str) -> Self {
        Self { kubeconfig: kubeconfig.into(), namespace: namespace.to_owned() }
    }

    /// The same cluster, another namespace.
    pub fn within(&self, namespace: &str) -> Self {
        Self::new(&self.kubeconfig, namespace)
    }

    /// The namespace that commands are about.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The command `kubectl` with these arguments, ready to be run.
    pub fn command<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.program("kubectl", arguments)
    }

    /// Another program that takes a kubeconfig and a namespace: helm.
    pub fn program<I, S>(&self, name: &str, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(name);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.args(["--namespace", &self.namespace]).args(arguments);
        command
    }

    /// `kubectl NAME`, a plugin, which finds cluster and namespace by itself.
    pub fn plugin(&self, name: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig);
        command.args([name, "--namespace", &self.namespace]);
        command
    }

    /// Runs to the end, whatever the end is.
    ///
    /// # Errors
    /// If there is no kubectl.
    pub fn ask<I, S>(&self, arguments: I, input: &str) -> Result<Answer>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        answer(&mut self.command(arguments), input)
    }

    /// Runs to the end and returns the output.
    ///
    /// # Errors
    /// If it fails; the message has what it complained of.
    pub fn run<I, S>(&self, arguments: I) -> Result<String>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        succeed(&mut self.command(arguments), "")
    }

    /// Applies YAML.
    ///
    /// # Errors
    /// If the API server refuses it.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        succeed(&mut self.command(["apply", "--server-side", "--filename", "-"]), yaml)
    }

    /// Reads one object, or a list.
    ///
    /// # Errors
    /// If it is not there.
    pub fn get(&self, what: &[&str]) -> Result<Value> {
        let arguments = ["get", "--output", "json"].into_iter().chain(what.iter().copied());
        let text = self.run(arguments)?;
        serde_json::from_str(&text).context("kubectl wrote no JSON")
    }
}

/// Runs a command to the end with `input` on its standard input.
///
/// # Errors
/// If the program is not there.
pub fn answer(command: &mut Command, input: &str) -> Result<Answer> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", line(command)))?;
    let mut pipe = child.stdin.take().context("standard input is a pipe")?;
    // A program that does not read its input may have closed it.
    let _ = pipe.write_all(input.as_bytes());
    drop(pipe);
    let output = child.wait_with_output()?;
    Ok(Answer {
        succeeded: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a command that must succeed; its output.
///
/// # Errors
/// If it fails; the message has what it complained of.
pub fn succeed(command: &mut Command, input: &str) -> Result<String> {
    let answer = answer(command, input)?;
    ensure!(answer.succeeded, "{}: {}", line(command), answer.complaint.trim());
    Ok(answer.output)
}

fn line(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|part| part.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
