//! Seeded world: clock, network, disk, faults, workload, replay.
