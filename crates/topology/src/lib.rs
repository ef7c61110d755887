//! Custom resources to nodes and their settings; pure.
