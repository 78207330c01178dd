//! What can go wrong for a person at the keyboard, and the exit code that says so to a script.

use pond_server::api::types::Problem;
use std::io;

/// The exit codes that `pond` promises; everything else a job ends with is passed on as it is.
pub mod codes {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something failed that has no code of its own.
    pub const FAILED: u8 = 1;
    /// The command line is wrong, or names something that is not there.
    pub const USAGE: u8 = 64;
    /// The job file is wrong.
    pub const BAD_FILE: u8 = 65;
    /// No server answers.
    pub const UNREACHABLE: u8 = 69;
    /// Accepted, but it cannot be placed as things are.
    pub const CANNOT_PLACE: u8 = 75;
    /// Not allowed.
    pub const DENIED: u8 = 77;
    /// Whoever read our output has gone: 128 + SIGPIPE.
    pub const PIPE: u8 = 141;
}

/// Why a verb could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line asks for something that makes no sense.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// What to write instead.
        next: Option<String>,
    },
    /// Job files with errors, each already with file:line.
    #[error("{messages}")]
    BadFile {
        /// One message an error.
        messages: String,
    },
    /// No server is known.
    #[error("no pool runs here (looked for {place})")]
    NoServer {
        /// Where its address would be.
        place: String,
    },
    /// A server is known and does not answer.
    #[error("the pool at {address} does not answer: {why}")]
    Unreachable {
        /// Its URL.
        address: String,
        /// What the connection said.
        why: String,
    },
    /// The server refused.
    #[error("{}", .0.message)]
    Refused(Problem),
    /// The server said something we do not understand.
    #[error("the answer of the pool to {request} could not be read: {why}")]
    BadAnswer {
        /// Method and path.
        request: String,
        /// What was wrong with it.
        why: String,
    },
    /// Accepted, and waiting cannot help, or a rule says not to wait.
    #[error("{sentence}")]
    CannotPlace {
        /// Why, with advice.
        sentence: String,
    },
    /// Something on this machine.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The pool could not be started, stopped or reached by its own means.
    #[error("{what}")]
    Pool {
        /// What is wrong.
        what: String,
        /// What to do.
        next: Option<String>,
    },
    /// Nothing has this name.
    #[error("there is no {kind} `{name}`")]
    NoSuch {
        /// `job`, `rank`, ...
        kind: &'static str,
        /// As it was written.
        name: String,
    },
    /// Whoever read our output has gone.
    #[error("the reader of the output has gone")]
    PipeClosed,
}

impl CliError {
    /// A wrong command line.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), next: None }
    }

    /// A failure of this machine; a closed pipe is told apart.
    #[must_use]
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::PipeClosed;
        }
        Self::Io { what: what.into(), source }
    }

    /// What the process ends with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => codes::USAGE,
            Self::BadFile { .. } => codes::BAD_FILE,
            Self::NoServer { .. } | Self::Unreachable { .. } => codes::UNREACHABLE,
            Self::CannotPlace { .. } => codes::CANNOT_PLACE,
            Self::PipeClosed => codes::PIPE,
            Self::Refused(problem) => problem_code(problem),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => codes::DENIED,
            Self::NoSuch { .. } => codes::USAGE,
            Self::BadAnswer { .. } | Self::Io { .. } | Self::Pool { .. } => codes::FAILED,
        }
    }

    /// What to do about it, when there is something to say.
    #[must_use]
    pub fn next(&self) -> Option<String> {
        match self {
            Self::Usage { next, .. } | Self::Pool { next, .. } => next.clone(),
            Self::NoServer { .. } => {
                Some("start one with `pond up -d`, or name one with --server URL or POND_SERVER".to_owned())
            }
            Self::Unreachable { .. } => {
                Some("see whether it runs (`pond up -d` starts it), or name another with --server".to_owned())
            }
            Self::Refused(problem) => problem.next.clone(),
            Self::NoSuch { kind: "job", .. } => Some("`pond ps -a` lists all of them".to_owned()),
            _ => None,
        }
    }

    /// Where it is, when that is known apart from the message.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => problem.place.as_deref(),
            _ => None,
        }
    }
}

fn problem_code(problem: &Problem) -> u8 {
    match (problem.status, problem.code.as_str()) {
        (401 | 403, _) => codes::DENIED,
        (_, "bad_file" | "bad_job" | "no_such_dependency" | "failed_dependency") => codes::BAD_FILE,
        (_, "infeasible" | "cannot_place" | "never_fits") => codes::CANNOT_PLACE,
        // Something was named that is not there.
        (404, _) | (_, "no_such_queue" | "no_such_secret") => codes::USAGE,
        (503, _) => codes::UNREACHABLE,
        _ => codes::FAILED,
    }
}

/// What a verb gives back: an exit code or a reason.
pub type Done = Result<u8, CliError>;
