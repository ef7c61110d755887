//! For tests: process clusters, faults, traffic, histories, the checker.
