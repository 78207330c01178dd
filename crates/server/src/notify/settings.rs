//! Whether settings and recipients hold together.

use super::address::{self, AddressError, Allowed};
use super::mail::{self, MailError};
use crate::api::types::{NotifySettings, Problem};
use axum::http::StatusCode;
use pond_core::model::Recipient;
use pond_core::model::notify::MAX_RECIPIENT;
use std::net::IpAddr;

/// Secrets of the server itself begin with this. No job gets them.
pub const OWN: &str = "POND_";
/// Entries of a list.
const ENTRIES: usize = 100;

fn bad(field: &str, what: impl ToString) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_settings", what.to_string()).at(field)
}

/// Looks at settings. `has` tells whether there is a secret of a name.
///
/// # Errors
/// What is wrong with the first field that is wrong.
pub fn check(settings: &NotifySettings, has: impl Fn(&str) -> bool) -> Result<(), Problem> {
    if settings.allow.len() > ENTRIES {
        return Err(bad("allow", "at most 100 networks can be named"));
    }
    for word in &settings.allow {
        if address::network(word).is_none() {
            let word: String = word.chars().take(50).collect();
            return Err(bad("allow", format!("`{word}` is not a network; write 10.1.0.0/16 or fd00:1::/64")));
        }
    }
    if let Some(url) = &settings.url {
        address::parts(url).map_err(|why| bad("url", why))?;
    }
    let Some(server) = &settings.mail else { return Ok(()) };
    mail::sender(&server.from).map_err(|why| bad("mail.from", why))?;
    if server.domains.len() > ENTRIES {
        return Err(bad("mail.domains", "at most 100 domains can be named"));
    }
    if server.user.is_some() != server.password.is_some() {
        return Err(bad("mail.password", "a user and the secret that holds their password go together"));
    }
    if let Some(name) = &server.password {
        if !name.starts_with(OWN) {
            return Err(bad(
                "mail.password",
                format!("the secret's name must begin with {OWN}, so that no job can have it"),
            ));
        }
        if !has(name) {
            return Err(bad("mail.password", MailError::NoPassword { name: name.clone() })
                .with_next(format!("set it: `pond secret set {name}`")));
        }
    }
    mail::transport(server, |_| Some(String::new())).map(drop).map_err(|why| bad("mail", why))
}

/// Looks at a recipient, so far as that can be done without asking anybody.
///
/// # Errors
/// When nothing can be sent there.
pub fn check_recipient(to: &Recipient, settings: &NotifySettings) -> Result<(), Problem> {
    let bad = |what: String| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_recipient", what).at("to");
    match to {
        Recipient::Webhook(url) if url.len() > MAX_RECIPIENT => {
            Err(bad("the address is too long".to_owned()))
        }
        Recipient::Webhook(url) => {
            let uri = address::parts(url).map_err(|why| bad(why.to_string()))?;
            let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
            let named = host.parse::<IpAddr>().ok();
            let local = host.eq_ignore_ascii_case("localhost").then_some(IpAddr::from([127, 0, 0, 1]));
            let encrypted = uri.scheme_str() == Some("https");
            let allowed = Allowed::of(&settings.allow);
            let checked = named.or(local).map_or(Ok(()), |address| allowed.check(address, encrypted));
            let checked = match checked {
                // What a name stands for is looked up when it is sent; without a network that is allowed it is in vain.
                Ok(()) if !encrypted && settings.allow.is_empty() => Err(AddressError::Plain),
                checked => checked,
            };
            checked.map_err(|why| bad(why.to_string()))
        }
        Recipient::Email(to) => {
            let server = settings.mail.as_ref().ok_or_else(|| bad(MailError::NoServer.to_string()))?;
            mail::check(server, to).map(drop).map_err(|why| bad(why.to_string()))
        }
        Recipient::Subscription(_) => Err(bad("it is neither webhook:URL nor email:ADDRESS".to_owned())),
    }
}
