//! Rules that a build with the feature `mutants` breaks when `CAIRN_WITHOUT` names them, so that
//! the tests that rely on them are seen to fail. Other builds have no such choice.

/// Whether writes are answered when they are appended.
pub const ACK_WAIT: &str = "ack-wait";
/// Whether linearizable reads are answered at once, whatever they rest on.
pub const READ_WAIT: &str = "read-wait";

/// Whether `rule` is broken in this process.
#[cfg(feature = "mutants")]
pub fn without(rule: &str) -> bool {
    static BROKEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let broken = BROKEN.get_or_init(|| std::env::var("CAIRN_WITHOUT").ok());
    broken.as_deref() == Some(rule)
}

/// Whether `rule` is broken in this process: never.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn without(_rule: &str) -> bool {
    false
}
