//! One node of a Cairn cluster: global, data or acceptor.

fn main() {}
