//! Segmented log, rotating and double-written files behind a small Disk.
