//! `cargo xtask <command>`: project tasks. See the library for what each does.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}
