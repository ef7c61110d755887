//! RESP2 and RESP3 frames; bytes in, frames out; pure.
