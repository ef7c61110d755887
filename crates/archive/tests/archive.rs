//! Archives in a folder and in S3-compatible storage, as a whole.

#[path = "archive/folder.rs"]
mod folder;
#[path = "archive/support.rs"]
mod support;
