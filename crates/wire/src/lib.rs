//! Protobuf of peers and of etcd v3, with conversions.
