//! Project tasks: tidy, setup, test, sim, mutants, bench, demo.

fn main() {}
