//! All processes of a comparison are scheduled alike.
//!
//! Linux may give every session (`setsid`) a share of the processors of its own. The nodes of a
//! cluster are a session, the load and a peer that it starts are another, so the load would compete
//! with nodes in another way than with a peer: a thread of it that was ready to run was seen to
//! wait for 170 ms. For the time of a comparison there are no such shares.

use std::fs;
use std::path::Path;

const SWITCH: &str = "/proc/sys/kernel/sched_autogroup_enabled";

/// Shares of sessions are off until this is dropped.
#[derive(Debug)]
pub struct Alike {
    /// What to write back.
    before: Option<String>,
}

impl Alike {
    /// Turns them off; says so if that is not allowed.
    pub fn begin() -> Self {
        let before = fs::read_to_string(SWITCH).ok().filter(|text| text.trim() != "0");
        let off = before.filter(|_| match fs::write(SWITCH, "0") {
            Ok(()) => true,
            Err(error) => {
                println!("sessions keep their shares of the processors, {SWITCH}: {error}");
                false
            }
        });
        Self { before: off }
    }
}

impl Drop for Alike {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            fs::write(SWITCH, before).ok();
        }
    }
}

/// How processes are scheduled now, for a page.
pub fn how() -> &'static str {
    let off = fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() == "0");
    match off || !Path::new(SWITCH).exists() {
        true => "all processes scheduled alike",
        false => "each session with a share of the processors",
    }
}
