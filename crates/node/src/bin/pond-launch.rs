//! The launcher alone, for this crate's tests and benches; `pond __launch` is the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).filter(|arg| arg != pond_node::launcher::ARG).collect();
    pond_node::launcher::main(&args)
}
