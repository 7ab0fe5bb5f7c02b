//! The `stayd` program: see [`stayd::cli`].

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // A guardian that has become another program keeps its signals blocked.
    if let (Some("hold"), Some("--continue"), Some(memory)) = (
        args.next().as_deref().and_then(OsStr::to_str),
        args.next().as_deref().and_then(OsStr::to_str),
        args.next().as_deref().and_then(OsStr::to_str),
    ) {
        return code(stayd::holder::process::continue_main(memory));
    }
    stayd::pty::reset_signals();
    // The holder, and the process from which it forks sessions, come first: they must start fast,
    // stay small, and depend on nothing else.
    let mut args = std::env::args_os().skip(1);
    match args.next().as_deref().and_then(OsStr::to_str) {
        Some("__fork") => code(stayd::holder::fork_server::main()),
        Some("hold") => match (args.next(), args.next().map(PathBuf::from), args.next()) {
            (Some(flag), Some(dir), None) if flag == "--state-dir" => {
                code(stayd::holder::process::main(&dir))
            }
            _ => ExitCode::from(2),
        },
        _ => stayd::cli::main(),
    }
}

/// The process's exit code, which is one byte (wait(2)).
fn code(code: i32) -> ExitCode {
    ExitCode::from((code & 0xff) as u8)
}
