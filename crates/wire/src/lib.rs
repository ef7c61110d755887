//! Protobuf of peers and of etcd v3, with conversions.
//!
//! What comes in is checked and may be refused ([`etcd::convert`]); what goes out cannot fail.

pub mod etcd;
pub mod hello;
pub mod peer;
