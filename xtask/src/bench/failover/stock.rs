//! Clients of others at work: programs that write without an end and say what became of each write.
//!
//! They print `ack N` or `err N TEXT` per write, N in microseconds since 1970, until their standard
//! input ends; then they read back and print `lost COUNT of ACKNOWLEDGED`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;
use cairn_harness::pauses::Pauses;

use crate::run::line_of;

/// How long the first write may take.
const START_LIMIT: Duration = Duration::from_secs(20);

/// One thing that a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Ack(u64),
    Error(u64, String),
    Lost { lost: usize, acknowledged: usize },
}

fn parse(line: &str) -> Option<Word> {
    let (kind, rest) = line.split_once(' ')?;
    match kind {
        "ack" => rest.parse().ok().map(Word::Ack),
        "err" => {
            let (at_us, what) = rest.split_once(' ').unwrap_or((rest, ""));
            Some(Word::Error(at_us.parse().ok()?, what.to_owned()))
        }
        "lost" => {
            let (lost, acknowledged) = rest.split_once(" of ")?;
            Some(Word::Lost { lost: lost.parse().ok()?, acknowledged: acknowledged.parse().ok()? })
        }
        _ => None,
    }
}

/// A client at work; it is ended when this is dropped.
#[derive(Debug)]
pub struct Stock {
    child: Child,
    heard: Arc<Heard>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Heard {
    pauses: Pauses,
    errors: Mutex<Vec<(u64, String)>>,
    last: Mutex<Option<(usize, usize)>>,
    strange: Mutex<Vec<String>>,
}

/// What was seen over the whole time.
#[derive(Debug, Default)]
pub struct Seen {
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Those of them that are gone.
    pub lost: usize,
    /// Errors that the client's application got.
    pub errors: Vec<String>,
}

impl Seen {
    /// Adds what another client saw.
    pub fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.errors.extend(other.errors);
    }
}

impl Stock {
    /// Starts a client and waits for its first acknowledgement.
    ///
    /// # Errors
    /// If it cannot be run, or no write succeeds.
    pub fn start(command: &mut Command) -> Result<Self> {
        let line = line_of(command);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot run {line}"))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let heard = Arc::new(Heard::default());
        let ear = Arc::clone(&heard);
        let reader = std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).for_each(|line| ear.hear(&line));
        });
        let stock = Self { child, heard, reader: Some(reader) };
        let writes = || stock.heard.pauses.first_after(0, 0).is_some();
        ensure!(wait_until(START_LIMIT, Duration::from_millis(10), writes), "{line} wrote nothing");
        Ok(stock)
    }

    /// When writes were acknowledged, as those of group 0, in microseconds since 1970.
    pub fn pauses(&self) -> &Pauses {
        &self.heard.pauses
    }

    /// Lets the client end and read back.
    ///
    /// # Errors
    /// If it fails, or says something else than it should.
    pub fn finish(mut self) -> Result<Seen> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("cannot wait for a client")?;
        if let Some(reader) = self.reader.take() {
            reader.join().ok().context("the reader of a client panicked")?;
        }
        ensure!(status.success(), "a client failed: {status}");
        let take = |list: &Mutex<Vec<String>>| std::mem::take(&mut *held(list));
        let strange = take(&self.heard.strange);
        ensure!(strange.is_empty(), "a client says: {}", strange.join("\n"));
        let (lost, acknowledged) = held(&self.heard.last).context("a client read nothing back")?;
        let errors = held(&self.heard.errors).drain(..).map(|(_, what)| what).collect();
        Ok(Seen { acknowledged, lost, errors })
    }
}

impl Heard {
    fn hear(&self, line: &str) {
        match parse(line) {
            Some(Word::Ack(at_us)) => self.pauses.acknowledged(0, at_us),
            Some(Word::Error(at_us, what)) => held(&self.errors).push((at_us, what)),
            Some(Word::Lost { lost, acknowledged }) => {
                *held(&self.last) = Some((lost, acknowledged));
            }
            None => held(&self.strange).push(line.to_owned()),
        }
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        // After an orderly end there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_says_four_things() {
        assert_eq!(parse("ack 17"), Some(Word::Ack(17)));
        assert_eq!(parse("err 18 no leader"), Some(Word::Error(18, "no leader".into())));
        assert_eq!(parse("err 18"), Some(Word::Error(18, String::new())));
        assert_eq!(parse("lost 1 of 20"), Some(Word::Lost { lost: 1, acknowledged: 20 }));
        for strange in ["", "ack", "ack x", "lost 1", "Traceback (most recent call last)"] {
            assert_eq!(parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn what_a_client_says_is_counted() {
        let text = "printf 'ack 100\\nack 300\\nerr 400 x\\n'; cat; echo lost 1 of 2";
        let mut command = Command::new("sh");
        let stock = Stock::start(command.args(["-c", text])).unwrap();
        assert!(wait_until(Duration::from_secs(5), Duration::from_millis(5), || {
            stock.pauses().longest(0, 150, 250) == Some(200)
        }));
        let seen = stock.finish().unwrap();
        assert_eq!((seen.acknowledged, seen.lost), (2, 1));
        assert_eq!(seen.errors, ["x"]);
    }

    #[test]
    fn a_client_that_fails_is_no_measurement() {
        let mut command = Command::new("sh");
        let stock = Stock::start(command.args(["-c", "echo ack 1; cat; exit 3"])).unwrap();
        assert!(stock.finish().is_err());
    }
}
