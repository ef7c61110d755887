//! The multi-version map of the global plane; pure.
