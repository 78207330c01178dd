//! From a line of the event log to the messages that it makes.

use super::message::News;
use super::{Delivery, Notices, Subscription};
use crate::api::types::{DeliveryState, EventView, NotifySettings, State, Topic};
use crate::auth::people::People;
use crate::auth::rights::{Place, Principal, Right};
use crate::pool::inbox::Sight;
use crate::pool::view;
use crate::secrets::Secrets;
use pond_core::engine::Job;
use pond_core::ids::UserName;
use pond_core::model::notify::MAX_RECIPIENTS;
use pond_core::model::{JobSpec, Moment, NotifySpec, Recipient};

/// What messages say of a job.
#[derive(Clone, Debug)]
pub struct JobFacts {
    /// Its number.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Whose.
    pub user: String,
    /// In which project.
    pub queue: String,
    /// How it stands.
    pub state: State,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// Whom it wants told.
    pub notify: Option<Box<NotifySpec>>,
}

impl JobFacts {
    fn new(id: u64, spec: &JobSpec, state: State, reason: Option<String>) -> Self {
        Self {
            id,
            name: spec.name.clone(),
            user: spec.user.to_string(),
            queue: spec.queue.to_string(),
            state,
            reason,
            notify: spec.notify.clone(),
        }
    }

    /// Of a job in memory.
    #[must_use]
    pub fn of(sight: &Sight<'_>, job: &Job) -> Self {
        Self::new(job.id.0, &job.spec, view::job::job_state(job), view::job::job_reason(sight, job))
    }

    /// Of one in the archive.
    #[must_use]
    pub fn archived(detail: &crate::api::types::JobDetail) -> Option<Self> {
        let spec: JobSpec = serde_json::from_value(detail.spec.clone()).ok()?;
        let summary = &detail.summary;
        Some(Self::new(summary.id, &spec, summary.state, summary.reason.clone()))
    }
}

/// Whether a line may make messages.
#[must_use]
pub fn is_news(view: &EventView) -> bool {
    const KINDS: [&str; 10] = [
        "gang.running",
        "job.ended",
        "gang.evicted",
        "job.waiting",
        "gang.idle",
        "budget.alert",
        "budget.spent",
        "node.lost",
        "device.sick",
        "token.expiring",
    ];
    KINDS.contains(&view.kind.as_str())
}

/// What a line is about.
#[must_use]
pub fn topic(view: &EventView, job: Option<&JobFacts>) -> Option<Topic> {
    Some(match view.kind.as_str() {
        "gang.running" => Topic::Started,
        "job.ended" => match job?.state {
            State::Succeeded => Topic::Succeeded,
            State::Failed => Topic::Failed,
            State::Stopped => Topic::Stopped,
            // It was queued again meanwhile.
            _ => return None,
        },
        "gang.evicted" => Topic::Preempted,
        "job.waiting" => Topic::Waiting,
        "gang.idle" => Topic::Idle,
        "budget.alert" => Topic::Budget,
        "budget.spent" => Topic::BudgetSpent,
        "node.lost" => Topic::NodeLost,
        "device.sick" => Topic::DeviceSick,
        "token.expiring" => Topic::Token,
        _ => return None,
    })
}

const fn moment(topic: Topic) -> Option<Moment> {
    Some(match topic {
        Topic::Started => Moment::Started,
        Topic::Succeeded => Moment::Succeeded,
        Topic::Failed => Moment::Failed,
        Topic::Stopped => Moment::Stopped,
        Topic::Preempted => Moment::Preempted,
        Topic::Waiting => Moment::Waiting,
        Topic::Idle => Moment::Idle,
        _ => return None,
    })
}

/// What messages are made with.
pub struct Desk<'a> {
    /// Subscriptions.
    pub notices: &'a Notices,
    /// Who may see what.
    pub people: &'a People,
    /// Ids and keys follow from it.
    pub secrets: &'a Secrets,
    /// How the pool tells.
    pub settings: &'a NotifySettings,
    /// Now.
    pub now_ms: u64,
}

impl Desk<'_> {
    /// The messages of a line, each recipient once.
    #[must_use]
    pub fn messages(&self, view: &EventView, job: Option<&JobFacts>) -> Vec<Delivery> {
        let Some(topic) = topic(view, job) else { return Vec::new() };
        // A job that is not there any more is nobody's news.
        if view.job.is_some() && job.is_none() {
            return Vec::new();
        }
        let news = News { topic, view, job, url: self.settings.url.as_deref() };
        let mut made: Vec<Delivery> = Vec::new();
        let mut add = |delivery: Delivery| {
            if !made.iter().any(|other| other.id == delivery.id) {
                made.push(delivery);
            }
        };
        let wanted = |it: &Subscription| view.seq > it.since && it.on.contains(&topic);
        for it in self.notices.all().into_iter().filter(wanted).filter(|it| self.concerns(it, &news)) {
            add(self.subscribed(&it, &news));
        }
        let told = job.and_then(|job| Some((job, job.notify.as_ref()?)));
        let told = told.filter(|(_, notify)| moment(topic).is_some_and(|moment| notify.on.contains(&moment)));
        if let Some((job, notify)) = told {
            for to in notify.to.iter().take(MAX_RECIPIENTS) {
                match to {
                    Recipient::Subscription(name) => {
                        let own = self.notices.named(name).filter(|it| it.user == job.user);
                        own.into_iter().for_each(|it| add(self.subscribed(&it, &news)));
                    }
                    to => add(self.inline(&job.user, to, &news)),
                }
            }
        }
        made
    }

    fn principal(&self, user: &str) -> Option<Principal> {
        self.people.of_user(&UserName::from(user))
    }

    /// Whether news is of a subscription's concern, and its owner's to see.
    fn concerns(&self, it: &Subscription, news: &News<'_>) -> bool {
        let Some(who) = self.principal(&it.user) else { return false };
        let within = |queue: &str| match &it.project {
            Some(project) => crate::auth::rights::covers(project, queue),
            None => true,
        };
        if let Some(job) = news.job {
            let place = Place::Job { user: &job.user, queue: &job.queue };
            let own = job.user == it.user;
            return who.may(Right::See, place) && if it.project.is_some() { within(&job.queue) } else { own };
        }
        match news.topic {
            Topic::Budget | Topic::BudgetSpent => {
                let queue = news.view.subject.as_deref().unwrap_or_default();
                within(queue) && who.may(Right::See, Place::Queue(queue))
            }
            Topic::Token => {
                let token = news.view.subject.as_deref().and_then(|name| self.people.token(name));
                let own = token.is_some_and(|token| token.user == it.user);
                own || (it.project.as_deref() == Some("") && who.may(Right::Operate, Place::Pool))
            }
            // Machines are the pool's.
            _ => within("") && who.may(Right::See, Place::Pool),
        }
    }

    fn subscribed(&self, it: &Subscription, news: &News<'_>) -> Delivery {
        let lane = format!("s:{}", it.id);
        Delivery {
            subscription: Some(it.name.clone()),
            ..self.delivery(&it.user, &lane, &lane, &it.to, news)
        }
    }

    fn inline(&self, user: &str, to: &Recipient, news: &News<'_>) -> Delivery {
        self.delivery(user, &format!("j:{user}:{to}"), &format!("u:{user}"), to, news)
    }

    fn delivery(&self, user: &str, lane: &str, key: &str, to: &Recipient, news: &News<'_>) -> Delivery {
        // That a job runs is told once, whichever of its elements comes first.
        let event = match (news.topic, news.job) {
            (Topic::Started, Some(job)) => format!("started {}", job.id),
            _ => news.view.seq.to_string(),
        };
        Delivery {
            id: id(self.secrets, lane, &event),
            user: user.to_owned(),
            subscription: None,
            lane: lane.to_owned(),
            key: key.to_owned(),
            to: to.clone(),
            topic: news.topic,
            job: news.view.job,
            title: news.title(),
            body: if matches!(to, Recipient::Webhook(_)) { news.json() } else { news.text() },
            made_ms: self.now_ms,
            due_ms: self.now_ms,
            attempts: 0,
            state: DeliveryState::Waiting,
            last: None,
        }
    }
}

/// The id of a message: the same for the same event in the same lane of the same pool, and nobody can guess it.
#[must_use]
pub fn id(secrets: &Secrets, lane: &str, event: &str) -> String {
    let derived = secrets.derive(&format!("message {lane} {event}"));
    derived[..16].iter().fold("msg_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A trial of a subscription.
#[must_use]
pub fn trial(it: &Subscription, secrets: &Secrets, url: Option<&str>, now_ms: u64, nonce: &str) -> Delivery {
    let view = EventView {
        seq: 0,
        at_ms: now_ms,
        actor: it.user.clone(),
        from: None,
        kind: "test".to_owned(),
        job: None,
        subject: Some(it.name.clone()),
        node: None,
        text: format!("a trial of {}: it works", it.name),
    };
    let news = News { topic: Topic::Test, view: &view, job: None, url };
    let lane = format!("s:{}", it.id);
    Delivery {
        id: id(secrets, &lane, nonce),
        user: it.user.clone(),
        subscription: Some(it.name.clone()),
        key: lane.clone(),
        lane,
        to: it.to.clone(),
        topic: Topic::Test,
        job: None,
        title: news.title(),
        body: if matches!(it.to, Recipient::Webhook(_)) { news.json() } else { news.text() },
        made_ms: now_ms,
        due_ms: now_ms,
        attempts: 0,
        state: DeliveryState::Waiting,
        last: None,
    }
}
