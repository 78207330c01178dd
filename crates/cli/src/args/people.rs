//! Flags of the verbs about people: users, projects, tokens.

use clap::{Args, Subcommand, ValueEnum};
use pond_server::api::types::Role;
use std::path::PathBuf;

/// What a user is in a project, each with all that the one before has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Sees jobs and what they use, not what they print
    Viewer,
    /// Submits, and does with their own jobs what they want
    Member,
    /// Does the same with everybody's jobs and reads their output
    Maintainer,
    /// Gives roles, makes and limits queues below
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Viewer => Self::Viewer,
            RoleArg::Member => Self::Member,
            RoleArg::Maintainer => Self::Maintainer,
            RoleArg::Admin => Self::Admin,
        }
    }
}

/// `pond user`.
#[derive(Clone, Debug, Subcommand)]
pub enum UserVerb {
    /// Add a user; without a role they may do nothing
    Add {
        /// Their name, which stands on their jobs
        name: String,
        /// What to set.
        #[command(flatten)]
        flags: UserFlags,
    },
    /// List users and their roles
    #[command(alias = "ls")]
    List,
    /// Take away what opens: sessions, tokens, password; their jobs go on
    Disable {
        /// Their name
        name: String,
    },
    /// Undo `disable`
    Enable {
        /// Their name
        name: String,
    },
    /// Set a password; it comes from the terminal or standard input
    Password {
        /// Their name
        name: String,
        /// Read the password from this file
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,
    },
    /// Set how many requests a second they may send; 0 is the pool's default
    Rate {
        /// Their name
        name: String,
        /// Requests a second
        rate: u32,
    },
}

/// What a new user gets.
#[derive(Clone, Debug, Default, Args)]
pub struct UserFlags {
    /// Give this role
    #[arg(long, value_enum)]
    pub role: Option<RoleArg>,
    /// In this project; default: in the whole pool
    #[arg(short, long, value_name = "QUEUE", requires = "role")]
    pub project: Option<String>,
    /// Requests a second they may send
    #[arg(long)]
    pub rate: Option<u32>,
}

/// `pond project`. A project is a queue with people.
#[derive(Clone, Debug, Subcommand)]
pub enum ProjectVerb {
    /// List projects with their people
    #[command(alias = "list")]
    Ls,
    /// Who has which role in a project, from above or in itself
    Show {
        /// Its queue, like `research/nlp`; `/` is the pool
        project: String,
    },
    /// Make a project; a queue that is there becomes one by its people
    Add {
        /// Its queue, like `research/nlp`
        project: String,
        /// Who administers it
        #[arg(long, value_name = "USER")]
        admin: Vec<String>,
    },
    /// Give a user a role
    Grant {
        /// Its queue; `/` is the pool
        project: String,
        /// Whom
        user: String,
        /// Which
        #[arg(value_enum)]
        role: RoleArg,
    },
    /// Take a user's role away
    Revoke {
        /// Its queue; `/` is the pool
        project: String,
        /// Whose
        user: String,
    },
    /// Remove an empty project with all its roles
    Rm {
        /// Its queue
        project: String,
    },
}

/// `pond token`.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token; it is shown once
    #[command(alias = "add")]
    Create {
        /// Its name
        name: String,
        /// What it is for.
        #[command(flatten)]
        flags: TokenFlags,
    },
    /// List tokens
    #[command(alias = "ls")]
    List,
    /// Revoke a token, and the sessions that began with it
    #[command(alias = "rm")]
    Revoke {
        /// Its name
        name: String,
    },
}

/// What a token allows.
#[derive(Clone, Debug, Default, Args)]
pub struct TokenFlags {
    /// The user it stands for; default: you
    #[arg(long)]
    pub user: Option<String>,
    /// At most what this role may
    #[arg(long, value_enum)]
    pub role: Option<RoleArg>,
    /// Only in this project and those below
    #[arg(short, long, value_name = "QUEUE")]
    pub project: Option<String>,
    /// Ends after this long (`12h`, `90d`); default: when it is revoked
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
}
