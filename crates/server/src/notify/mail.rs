//! Mail through an SMTP server: STARTTLS, implicit TLS, or plain on the loopback. Addresses, headers and their encoding are the
//! library's; a text that would end a header line never gets to it.

use crate::api::types::{MailServer, MailTls};
use lettre::message::{Mailbox, header};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Address, Message, SmtpTransport, Transport};
use std::net::IpAddr;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// How long the mail server may take for one of its answers.
const PATIENCE: Duration = Duration::from_secs(10);
/// Characters of a subject.
const SUBJECT: usize = 200;

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// Nobody takes mail.
    #[error("the pool has no mail server: an administrator sets it (`pond notify mail HOST --from ADDRESS`)")]
    NoServer,
    /// Not an address of mail.
    #[error("it is not an address of mail: {source}")]
    Address {
        /// What is wrong.
        source: lettre::address::AddressError,
    },
    /// Mail goes elsewhere only.
    #[error("the pool sends no mail to {domain}: its administrator names the domains that it may go to")]
    Domain {
        /// Where it was to go.
        domain: String,
    },
    /// The password's secret is not there.
    #[error("the pool has no secret `{name}`, which should hold the mail server's password")]
    NoPassword {
        /// Its name.
        name: String,
    },
    /// What should be certificates is none.
    #[error("`ca` holds no certificate in PEM")]
    NoCertificate,
    /// Not the name of a machine.
    #[error("`{host}` is neither a machine's name nor an address; its port is set apart (`--port`)")]
    Host {
        /// What was given.
        host: String,
    },
    /// A password would cross the network readable.
    #[error("without TLS a mail server must be on the loopback, and `{host}` is not")]
    Plain {
        /// The server.
        host: String,
    },
    /// The mail cannot be made.
    #[error("the mail cannot be made: {source}")]
    Make {
        /// Why not.
        source: lettre::error::Error,
    },
    /// The server did not take it.
    #[error("the mail server: {source}")]
    Smtp {
        /// What it said.
        source: lettre::transport::smtp::Error,
    },
}

/// Reads an address.
///
/// # Errors
/// When it is none.
pub fn address(text: &str) -> Result<Address, MailError> {
    text.parse().map_err(|source| MailError::Address { source })
}

/// Reads a sender: an address, or a name and an address in angles.
///
/// # Errors
/// When it is neither.
pub fn sender(text: &str) -> Result<Mailbox, MailError> {
    text.parse().map_err(|source| MailError::Address { source })
}

/// Whether mail may go there.
///
/// # Errors
/// When it may not.
pub fn check(server: &MailServer, to: &str) -> Result<Address, MailError> {
    let address = address(to)?;
    let from = sender(&server.from)?;
    let fits = |domain: &str| domain.eq_ignore_ascii_case(address.domain());
    let fine = match server.domains.as_slice() {
        [] => fits(from.email.domain()),
        domains => domains.iter().any(|domain| fits(domain)),
    };
    if fine { Ok(address) } else { Err(MailError::Domain { domain: address.domain().to_owned() }) }
}

/// The way to the server. `password` gives a secret by its name.
///
/// # Errors
/// When the settings do not hold together.
pub fn transport(
    server: &MailServer,
    password: impl Fn(&str) -> Option<String>,
) -> Result<SmtpTransport, MailError> {
    let smtp = |source| MailError::Smtp { source };
    let host = server.host.clone();
    let is_name = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if !is_name && host.parse::<IpAddr>().is_err() {
        return Err(MailError::Host { host });
    }
    let encrypted = || {
        let mut parameters = TlsParameters::builder(host.clone());
        if let Some(pem) = &server.ca {
            if CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).next().is_none() {
                return Err(MailError::NoCertificate);
            }
            parameters =
                parameters.add_root_certificate(Certificate::from_pem(pem.as_bytes()).map_err(smtp)?);
        }
        parameters.build().map_err(smtp)
    };
    let (tls, usual) = match server.tls {
        MailTls::Starttls => (Tls::Required(encrypted()?), 587),
        MailTls::Implicit => (Tls::Wrapper(encrypted()?), 465),
        MailTls::None if is_loopback(&host) => (Tls::None, 25),
        MailTls::None => return Err(MailError::Plain { host }),
    };
    let mut builder = SmtpTransport::builder_dangerous(host.clone())
        .port(server.port.unwrap_or(usual))
        .timeout(Some(PATIENCE))
        .tls(tls);
    if let Some(user) = &server.user {
        let name = server.password.clone().unwrap_or_default();
        let password = password(&name).ok_or(MailError::NoPassword { name })?;
        builder = builder.credentials(Credentials::new(user.clone(), password));
    }
    Ok(builder.build())
}

/// Without TLS only this machine itself.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A text as one line.
fn line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUBJECT).collect()
}

/// A mail.
///
/// # Errors
/// When it may not go there or cannot be made.
pub fn message(
    server: &MailServer,
    to: &str,
    id: &str,
    title: &str,
    text: &str,
) -> Result<Message, MailError> {
    let from = sender(&server.from)?;
    let to = check(server, to)?;
    Message::builder()
        .message_id(Some(format!("<{id}@{}>", from.email.domain())))
        // So that nobody's answering machine answers (RFC 3834).
        .header(Automatic)
        .from(from)
        .to(Mailbox::new(None, to))
        .subject(format!("[millpond] {}", line(title)))
        .header(header::ContentType::TEXT_PLAIN)
        .body(text.to_owned())
        .map_err(|source| MailError::Make { source })
}

/// Sends a mail once.
///
/// # Errors
/// When it was not taken.
pub fn send(transport: &SmtpTransport, message: &Message) -> Result<String, MailError> {
    let answer = transport.send(message).map_err(|source| MailError::Smtp { source })?;
    Ok(answer.code().to_string())
}

/// `Auto-Submitted: auto-generated`.
#[derive(Clone)]
struct Automatic;

impl header::Header for Automatic {
    fn name() -> header::HeaderName {
        header::HeaderName::new_from_ascii_str("Auto-Submitted")
    }
    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }
    fn display(&self) -> header::HeaderValue {
        header::HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server() -> MailServer {
        MailServer {
            host: "mail.example.org".to_owned(),
            port: None,
            tls: MailTls::Starttls,
            from: "Millpond <pond@example.org>".to_owned(),
            user: None,
            password: None,
            ca: None,
            domains: Vec::new(),
        }
    }

    fn headers(title: &str) -> Vec<String> {
        let message = message(&server(), "ann@example.org", "msg_1", title, "text\r\n.\r\nX: y").unwrap();
        let whole = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = whole.split_once("\r\n\r\n").unwrap();
        let starts = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
        starts.map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn mail_goes_where_it_may_only() {
        let mut server = server();
        assert!(check(&server, "ann@EXAMPLE.org").is_ok());
        assert!(matches!(check(&server, "ann@elsewhere.org"), Err(MailError::Domain { .. })));
        server.domains = vec!["elsewhere.org".to_owned()];
        assert!(check(&server, "ann@elsewhere.org").is_ok() && check(&server, "ann@example.org").is_err());
        for bad in
            ["ann", "ann@", "@example.org", "a b@example.org", "ann@example.org\r\nBcc: eve@example.org"]
        {
            assert!(check(&server, bad).is_err(), "{bad}");
        }
        for bad in ["mail.example.org:587", "", "mail example.org", "https://mail.example.org"] {
            server.host = bad.to_owned();
            assert!(matches!(transport(&server, |_| None), Err(MailError::Host { .. })), "{bad}");
        }
        server.host = "mail.example.org".to_owned();
        server.tls = MailTls::None;
        assert!(matches!(transport(&server, |_| None), Err(MailError::Plain { .. })));
        server.host = "127.0.0.1".to_owned();
        server.user = Some("pond".to_owned());
        assert!(matches!(transport(&server, |_| None), Err(MailError::NoPassword { .. })));
    }

    #[test]
    fn no_title_makes_a_header() {
        let plain = headers("train failed");
        assert_eq!(headers("x\r\nBcc: eve@example.org\r\n\r\nbody"), plain);
        assert!(!plain.iter().any(|name| name == "Bcc"), "{plain:?}");
    }

    proptest! {
        #[test]
        fn whatever_the_title_the_headers_are_the_same(title in "[\\x00-\\x7f\u{80}-\u{2ff}\u{2028}\r\n:]{0,300}") {
            prop_assert_eq!(headers(&title), headers("x"));
        }
    }
}
