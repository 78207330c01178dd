//! `pond notify`: who is told what, and what became of the messages.

use super::Ctx;
use crate::args::{
    DeliveryStateArg, MailTlsArg, NotifyFlags, NotifyMailFlags, NotifySettingsFlags, NotifyVerb,
};
use crate::client::{Client, encode};
use crate::error::{CliError, Done, codes};
use crate::out::{Column, Table, clean, moment};
use pond_core::units::Millis;
use pond_server::api::types::{
    DeliveryQuery, DeliveryState, DeliveryView, MailServer, MailTls, NewSubscription, NotifySettings,
    SigningKey, SubscriptionBody, SubscriptionView, Topic,
};
use std::time::{Duration, Instant};

/// How long a trial is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// `pond notify ...`.
///
/// # Errors
/// No pool, or it refuses.
pub fn notify(ctx: &Ctx, verb: &NotifyVerb) -> Done {
    let client = ctx.client()?;
    match verb {
        NotifyVerb::Add { name, to, flags } => add(ctx, &client, name, to, flags)?,
        NotifyVerb::Ls => {
            let views: Vec<SubscriptionView> = client.get("/notify/subscriptions", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&subscriptions(&views))?;
            }
        }
        NotifyVerb::Test { name } => return test(ctx, &client, name),
        NotifyVerb::Rm { name } => {
            client.delete(&subscription(name))?;
            ctx.out.said(&format!("{name}: ended"))?;
        }
        NotifyVerb::Deliveries { name, state, limit } => {
            let state = state.map(|state| match state {
                DeliveryStateArg::Waiting => DeliveryState::Waiting,
                DeliveryStateArg::Delivered => DeliveryState::Delivered,
                DeliveryStateArg::GivenUp => DeliveryState::GivenUp,
            });
            let query = DeliveryQuery { subscription: name.clone(), state, job: None, limit: *limit };
            let views: Vec<DeliveryView> = client.get("/notify/deliveries", &query)?;
            if ctx.out.format.is_data() {
                ctx.out.value(&views)?;
            } else {
                ctx.out.table(&deliveries(&views))?;
            }
        }
        NotifyVerb::Send { id } => {
            let view: DeliveryView = client.post(&format!("{}/send", delivery(id)), &())?;
            shown(ctx, &view, "is sent once more")?;
        }
        NotifyVerb::Key => {
            let key: SigningKey = client.get("/notify/key", &())?;
            if ctx.out.format.is_data() {
                ctx.out.value(&key)?;
            } else {
                ctx.out.line(&key.secret)?;
            }
        }
        NotifyVerb::Settings(flags) => settings(ctx, &client, flags)?,
        NotifyVerb::Mail { host, flags } => mail(ctx, &client, host, flags)?,
    }
    Ok(codes::OK)
}

fn subscription(name: &str) -> String {
    format!("/notify/subscriptions/{}", encode(name))
}

fn delivery(id: &str) -> String {
    format!("/notify/deliveries/{}", encode(id))
}

fn shown(ctx: &Ctx, view: &DeliveryView, what: &str) -> Result<(), CliError> {
    if ctx.out.format.is_data() { ctx.out.value(view) } else { ctx.out.line(&format!("{}: {what}", view.id)) }
}

fn add(ctx: &Ctx, client: &Client, name: &str, to: &str, flags: &NotifyFlags) -> Result<(), CliError> {
    let topic = |word: &String| {
        Topic::named(word).ok_or_else(|| {
            let words = Topic::ALL.map(Topic::as_str).join(", ");
            CliError::usage(format!("--on: `{word}` is not a topic; use {words}, or none"))
        })
    };
    let on = match flags.on.as_slice() {
        [] => None,
        [none] if none == "none" => Some(Vec::new()),
        words => Some(words.iter().map(topic).collect::<Result<_, _>>()?),
    };
    let project = flags.project.as_ref().map(|project| project.trim_matches('/').to_owned());
    let body = SubscriptionBody { to: to.to_owned(), on, project };
    let made: NewSubscription = client.put(&subscription(name), &body)?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&made);
    }
    match &made.secret {
        Some(secret) => {
            ctx.out.note("verifies the webhook's signatures; shown once:");
            ctx.out.line(secret)
        }
        None => ctx.out.line(&format!("{name}: added")),
    }
}

fn subscriptions(views: &[SubscriptionView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("NAME"),
        Column::left("USER"),
        Column::left("OF"),
        Column::left("ON"),
        Column::left("TO"),
        Column::left("MADE").wide(),
    ]);
    for view in views {
        let of = match view.project.as_deref() {
            None => "own",
            Some("") => "/",
            Some(project) => project,
        };
        let on: Vec<&str> = view.on.iter().map(|topic| topic.as_str()).collect();
        table.row(vec![
            (&view.name).into(),
            (&view.user).into(),
            of.into(),
            if on.is_empty() { "-".to_owned() } else { on.join(",") }.into(),
            (&view.to).into(),
            moment(view.created_ms).into(),
        ]);
    }
    table
}

fn deliveries(views: &[DeliveryView]) -> Table {
    let mut table = Table::new(vec![
        Column::left("MADE"),
        Column::left("BY"),
        Column::left("TOPIC"),
        Column::left("STATE"),
        Column::right("TRIES"),
        Column::left("WHAT"),
        Column::left("LAST"),
        Column::left("ID"),
        Column::left("TO").wide(),
    ]);
    for view in views {
        table.row(vec![
            moment(view.made_ms).into(),
            view.subscription.as_deref().unwrap_or("job").into(),
            view.topic.as_str().into(),
            view.state.as_str().into(),
            view.attempts.to_string().into(),
            (&view.text).into(),
            view.last.as_deref().unwrap_or("-").into(),
            (&view.id).into(),
            (&view.to).into(),
        ]);
    }
    table
}

/// Sends a trial and waits for its first try.
fn test(ctx: &Ctx, client: &Client, name: &str) -> Done {
    let mut view: DeliveryView = client.post(&format!("{}/test", subscription(name)), &())?;
    let deadline = Instant::now() + PATIENCE;
    while view.attempts == 0 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        view = client.get(&delivery(&view.id), &())?;
    }
    let taken = view.state == DeliveryState::Delivered;
    let last = view.last.as_deref().unwrap_or("it was not tried yet");
    if ctx.out.format.is_data() {
        ctx.out.value(&view)?;
    } else {
        let what = if taken { "delivered" } else { "not taken" };
        ctx.out.line(&format!("{name}: {what}: {}", clean(last)))?;
    }
    Ok(if taken { codes::OK } else { codes::FAILED })
}

fn settings(ctx: &Ctx, client: &Client, flags: &NotifySettingsFlags) -> Result<(), CliError> {
    let mut settings: NotifySettings = client.get("/notify/settings", &())?;
    let span = |flag: &str, text: &String| {
        text.parse::<Millis>()
            .map(|span| span.0)
            .map_err(|why| CliError::usage(format!("--{flag} `{text}`: {why}")))
    };
    let before = settings.clone();
    match flags.allow.as_slice() {
        [] => {}
        [none] if none == "none" => settings.allow = Vec::new(),
        networks => settings.allow = networks.to_vec(),
    }
    if let Some(url) = &flags.url {
        settings.url = (!url.is_empty()).then(|| url.clone());
    }
    if let Some(text) = &flags.waiting {
        settings.waiting_ms = span("waiting", text)?;
    }
    if let Some(text) = &flags.token {
        settings.token_ms = span("token", text)?;
    }
    if settings != before {
        settings = client.put("/notify/settings", &settings)?;
    }
    if ctx.out.format.is_data() {
        return ctx.out.value(&settings);
    }
    let span = |ms: u64| if ms == 0 { "never".to_owned() } else { Millis(ms).to_string() };
    let networks = if settings.allow.is_empty() {
        "the public internet only".to_owned()
    } else {
        settings.allow.join(", ")
    };
    let mail = settings
        .mail
        .as_ref()
        .map_or_else(|| "none".to_owned(), |it| format!("{} from {}", it.host, it.from));
    for (what, value) in [
        ("webhooks to", networks),
        ("pages at", settings.url.clone().unwrap_or_else(|| "-".to_owned())),
        ("waits for long after", span(settings.waiting_ms)),
        ("token ends soon before", span(settings.token_ms)),
        ("mail", mail),
    ] {
        ctx.out.line(&format!("{what:<24}{}", clean(&value)))?;
    }
    Ok(())
}

fn mail(ctx: &Ctx, client: &Client, host: &str, flags: &NotifyMailFlags) -> Result<(), CliError> {
    let mut settings: NotifySettings = client.get("/notify/settings", &())?;
    settings.mail = match (host, &flags.from) {
        ("none", _) => None,
        (_, None) => return Err(CliError::usage("give the sender: --from ADDRESS".to_owned())),
        (given, Some(from)) => {
            // `mail.example.org:587`, as people write it; an address of IPv6 has more than one colon.
            let (host, port) = match given.split_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
                Some((host, Ok(port))) if flags.port.is_none() => (host, Some(port)),
                _ => (given, flags.port),
            };
            let ca = flags.trust.as_ref().map(|path| {
                std::fs::read_to_string(path)
                    .map_err(|why| CliError::io(format!("reading {}", path.display()), why))
            });
            Some(MailServer {
                host: host.to_owned(),
                port,
                tls: match flags.tls {
                    MailTlsArg::Starttls => MailTls::Starttls,
                    MailTlsArg::Implicit => MailTls::Implicit,
                    MailTlsArg::None => MailTls::None,
                },
                from: from.clone(),
                user: flags.user.clone(),
                password: flags.password_secret.clone(),
                ca: ca.transpose()?,
                domains: flags.domains.clone(),
            })
        }
    };
    let settings: NotifySettings = client.put("/notify/settings", &settings)?;
    if ctx.out.format.is_data() {
        return ctx.out.value(&settings);
    }
    ctx.out.said(&format!("mail: {host}"))
}
