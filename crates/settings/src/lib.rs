//! What a node is told at its start: one struct, defaults, validation.
