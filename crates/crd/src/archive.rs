//! Where archives are, as Backups and Restores write it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an archive is: S3-compatible storage, or a folder on a volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ArchivePlace {
    /// `s3://bucket/prefix`; this or `claim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub s3: Option<String>,
    /// The address of a storage that is not Amazon's, as `https://minio:9000`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub endpoint: Option<String>,
    /// A Secret with `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, perhaps `AWS_SESSION_TOKEN`
    /// and `AWS_REGION`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub credentials_secret: Option<String>,
    /// A Secret with `ca.crt`: who signs for the endpoint, if that is nobody whom everybody trusts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub authority_secret: Option<String>,
    /// A PersistentVolumeClaim of the same namespace; this or `s3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub claim: Option<String>,
    /// A folder on the claim's volume; absent: the volume's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub folder: Option<String>,
    /// A Secret with exactly 32 bytes under `key`: everything is encrypted with it before it leaves
    /// the pod. Without it nothing can be read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub encryption_key_secret: Option<String>,
}

impl ArchivePlace {
    /// What to call it in a sentence.
    #[must_use]
    pub fn name(&self) -> String {
        match (&self.s3, &self.claim, &self.folder) {
            (Some(s3), _, _) => s3.clone(),
            (None, Some(claim), None) => claim.clone(),
            (None, Some(claim), Some(folder)) => format!("{claim}/{folder}"),
            (None, None, _) => String::new(),
        }
    }
}
