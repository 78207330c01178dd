//! The job file: what a person writes, read into what the pool takes.
//!
//! ```text
//! YAML, TOML, JSON --read--> tree with places --decode--> JobFile --check--> JobFile --into_spec--> JobSpec
//! #POND, #SBATCH lines, command line --------> Overrides --apply-->
//! ```
//! All ways in share one path: flags of a command line, `#POND` lines and `#SBATCH` lines become [`Overrides`] laid
//! over a [`JobFile`]; every value is read by the same parser whichever way it came. Each error is one [`SpecError`]
//! with its place, cause and next step. Text of users is never joined into a shell line.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod check;
mod convert;
mod error;
mod graph;
mod jobfile;
pub mod limits;
mod lint;
mod overrides;
mod read;
mod reference;
pub mod schema;
mod script;
mod similar;
pub mod values;

pub use convert::{Awaited, Context, Draft, JobRef, into_specs};
pub use error::{Fault, Place, SpecError, Warning};
pub use jobfile::{
    After, AfterOn, Alternative, CheckpointFile, ClassWord, CommandText, IdeWord, IdleFile, IdleWord,
    IsolationWord, JobFile, JobType, NotifyFile, ResourcesFile, RetryFile, RetryText,
};
pub use lint::{Format, Reading, Report, lint, read, read_one};
pub use overrides::{FLAGS, Flag, FlagArity, Overrides};
pub use read::{MAX_BYTES, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES};
pub use reference::reference;
pub use schema::schema;
pub use script::{Lookup, as_slurm, sbatch};
pub use similar::nearest;
