//! The one binary.

fn main() -> std::process::ExitCode {
    pond::main()
}
