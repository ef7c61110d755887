//! Archives in a folder and in S3-compatible storage, as a whole.

#[path = "archive/folder.rs"]
mod folder;
#[path = "archive/proxy.rs"]
mod proxy;
#[path = "archive/s3.rs"]
mod s3;
#[path = "archive/support.rs"]
mod support;
