//! The loop around logic over a World; performs, never decides.
