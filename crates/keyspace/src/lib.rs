//! Per-slot tables, data types and commands of a group; pure.
