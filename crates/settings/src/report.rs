//! What `cairn backup` and `cairn restore` tell the operator of their work: the first when it is
//! asked for `/status`, the second at its end.

use serde::{Deserialize, Serialize};

/// Where `cairn backup create --follow` is. Moments are in milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackupReport {
    /// When it was started.
    pub started_ms: u64,
    /// The earliest moment from which on every one can be restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
    /// Everything that was committed by then is in the archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// Rounds that went well.
    pub rounds: u64,
    /// Rounds that failed.
    pub failures: u64,
    /// Bytes that were sent, before compression.
    pub bytes: u64,
    /// Since when every round fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing_since_ms: Option<u64>,
    /// Why the last one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How `cairn restore` ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestoreReport {
    /// The backup it rests on.
    pub backup: String,
    /// Up to when everything is in the keyspace, in milliseconds since 1970.
    pub moment_ms: u64,
    /// Keys that were written.
    pub keys: u64,
    /// The digest of the data, in hexadecimal.
    pub digest: String,
    /// Why it broke off; absent if all is in the keyspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The longest report that is read, in bytes; what Kubernetes keeps of an ended container.
pub const REPORT_BYTES_MAX: usize = 4096;
/// The longest error in a report, in characters.
const ERROR_CHARS_MAX: usize = 600;

impl RestoreReport {
    /// The report as text that is short enough.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        let error = self.error.as_ref().map(|error| error.chars().take(ERROR_CHARS_MAX).collect());
        let report = Self { error, ..self.clone() };
        serde_json::to_string(&report).expect("a report is plain data")
    }

    /// Reads a report; `None` if it is none.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_with_any_error_is_short_enough_to_be_kept() {
        // A control character takes six bytes, which is the most.
        let report = RestoreReport { error: Some("\u{1}".repeat(4000)), ..Default::default() };
        let text = report.to_json();
        assert!(text.len() <= REPORT_BYTES_MAX, "{}", text.len());
        assert_eq!(RestoreReport::from_json(&text).unwrap().error.unwrap().chars().count(), 600);
        assert_eq!(RestoreReport::from_json("exec format error"), None);
    }
}
