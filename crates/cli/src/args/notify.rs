//! Flags of the verbs about notifications.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `pond notify`.
#[derive(Clone, Debug, Subcommand)]
pub enum NotifyVerb {
    /// Subscribe; of a webhook the key that verifies it is shown once
    Add {
        /// Its name; one that is yours already is replaced, its key too
        name: String,
        /// `webhook:https://example.org/hook` or `email:ann@example.org`
        to: String,
        /// What of.
        #[command(flatten)]
        flags: NotifyFlags,
    },
    /// List subscriptions
    #[command(alias = "list")]
    Ls,
    /// Send a trial message and wait for what comes of it
    Test {
        /// Its name
        name: String,
    },
    /// End a subscription; its messages that wait are not sent
    Rm {
        /// Its name
        name: String,
    },
    /// List messages and what became of them, newest first
    Deliveries {
        /// Only of this subscription
        name: Option<String>,
        /// Only those that have come this far
        #[arg(long, value_enum)]
        state: Option<DeliveryStateArg>,
        /// At most so many
        #[arg(long, value_name = "N")]
        limit: Option<u32>,
    },
    /// Send a message once more, under the same id
    Send {
        /// Its id
        id: String,
    },
    /// Show the key that verifies webhooks which your jobs name in `notify:`
    Key,
    /// Show how the pool notifies, or change what is named
    Settings(NotifySettingsFlags),
    /// Set the mail server, or `none`
    Mail {
        /// Its name, or `none`
        host: String,
        /// How it is used.
        #[command(flatten)]
        flags: NotifyMailFlags,
    },
}

/// What is subscribed to.
#[derive(Clone, Debug, Default, Args)]
pub struct NotifyFlags {
    /// What to tell: `failed,preempted`; `none`: only jobs that name the subscription. Default: what is usual
    #[arg(long, value_name = "TOPIC", value_delimiter = ',')]
    pub on: Vec<String>,
    /// Everything of this project, `/` of the pool; default: your own jobs and tokens
    #[arg(short, long, value_name = "QUEUE")]
    pub project: Option<String>,
}

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeliveryStateArg {
    /// It will be tried, or tried again
    Waiting,
    /// It was taken
    Delivered,
    /// It was tried as often as it is tried
    GivenUp,
}

/// How the pool notifies. What is not named stays.
#[derive(Clone, Debug, Default, Args)]
pub struct NotifySettingsFlags {
    /// Networks beside the public internet that webhooks may go to, as `10.1.0.0/16`; `none` forgets them
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub allow: Vec<String>,
    /// Where people find this pool's pages; messages link there
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// A job that has waited for so long waits for long; `0s`: never
    #[arg(long, value_name = "DURATION")]
    pub waiting: Option<String>,
    /// A token that ends within so long ends soon; `0s`: never
    #[arg(long, value_name = "DURATION")]
    pub token: Option<String>,
}

/// How a connection to a mail server is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MailTlsArg {
    /// Begins plain and must become TLS; port 587
    #[default]
    Starttls,
    /// TLS from the first byte; port 465
    Implicit,
    /// Not at all: only on the loopback
    None,
}

/// How a mail server is used.
#[derive(Clone, Debug, Default, Args)]
pub struct NotifyMailFlags {
    /// Whom mail comes from: `pond@example.org`, or `Pool <pond@example.org>`
    #[arg(long, value_name = "ADDRESS")]
    pub from: Option<String>,
    /// Its port
    #[arg(long)]
    pub port: Option<u16>,
    /// How the connection is protected
    #[arg(long, value_enum, default_value_t)]
    pub tls: MailTlsArg,
    /// Who logs in there
    #[arg(long, requires = "password_secret")]
    pub user: Option<String>,
    /// Secret of the pool that holds the password; its name begins with POND_
    #[arg(long, value_name = "SECRET", requires = "user")]
    pub password_secret: Option<String>,
    /// Certificates (PEM) to trust beside the well-known ones
    #[arg(long = "mail-ca", value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// Domains that mail may go to; default: that of the sender
    #[arg(long, value_name = "DOMAIN", value_delimiter = ',')]
    pub domains: Vec<String>,
}
