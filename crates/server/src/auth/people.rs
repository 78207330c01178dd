//! Users, their roles and tokens, as they are now. Changed by the drive thread alone, once a change is durable.

use super::rights::{Grants, Principal, Role, Scope};
use super::{TokenHash, hash};
use crate::api::types::TokenView;
use pond_core::ids::UserName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use subtle::{Choice, ConstantTimeEq};

/// Where a user comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Added here.
    Local,
    /// Came through an identity provider, which knows them by this subject.
    Provider {
        /// The provider.
        issuer: String,
        /// Its own name for them.
        subject: String,
    },
}

/// A user, as the database keeps them.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name on jobs and in the audit log. Never given to somebody else.
    pub name: String,
    /// Where they come from.
    pub origin: Origin,
    /// The password's hash, a PHC string.
    #[serde(default)]
    pub password: Option<String>,
    /// Nothing of theirs opens anything.
    #[serde(default)]
    pub disabled: bool,
    /// Requests a second; absent: the pool's default.
    #[serde(default)]
    pub rate: Option<u32>,
    /// When they were added.
    pub created_ms: u64,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Who gave a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// An administrator.
    Hand,
    /// A group of the identity provider, at the last login.
    Group,
}

impl Source {
    /// As the database writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hand => "hand",
            Self::Group => "group",
        }
    }
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Hash of the cookie's value.
    pub name: TokenHash,
    /// Who.
    pub user: UserName,
    /// The token it stands for; absent: the user themself, who gave a password or came from a provider.
    pub token: Option<TokenHash>,
    /// When it began.
    pub made_ms: u64,
}

/// A change of who may what. Written to the database, then taken over.
#[derive(Clone, Debug)]
pub enum PeopleChange {
    /// A user, new or changed.
    User(User),
    /// A role by hand; `None` takes it away.
    Role {
        /// Whose.
        user: String,
        /// Where.
        queue: String,
        /// Which.
        role: Option<Role>,
    },
    /// All roles that groups give a user, instead of those before.
    Groups {
        /// Whose.
        user: String,
        /// Queue to role.
        roles: Grants,
    },
    /// A queue is gone, and with it its roles.
    QueueGone(String),
    /// A token, new or in place of one of the same name.
    Token(TokenHash, TokenView),
    /// A token is revoked.
    Revoke(String),
    /// A session began.
    Session(Session),
    /// A session ended.
    SessionOver(TokenHash),
    /// All sessions of a user that stand for no token ended.
    SessionsOver(UserName),
}

/// What the database knows of people.
#[derive(Clone, Debug, Default)]
pub struct FoundPeople {
    /// Users.
    pub users: Vec<User>,
    /// User, queue, source, role.
    pub roles: Vec<(String, String, Source, Role)>,
    /// Tokens.
    pub tokens: Vec<(TokenHash, TokenView)>,
    /// Sessions.
    pub sessions: Vec<Session>,
}

/// A user with what they may.
#[derive(Debug)]
struct Entry {
    user: User,
    roles: BTreeMap<(String, Source), Role>,
    grants: Arc<Grants>,
}

impl Entry {
    fn new(user: User) -> Self {
        Self { user, roles: BTreeMap::new(), grants: Arc::default() }
    }

    /// Of two sources the higher role counts.
    fn count(&mut self) {
        let mut grants = Grants::new();
        for ((queue, _), role) in &self.roles {
            let kept = grants.entry(queue.clone()).or_insert(*role);
            *kept = (*kept).max(*role);
        }
        self.grants = Arc::new(grants);
    }
}

#[derive(Debug, Default)]
struct State {
    users: BTreeMap<String, Entry>,
    tokens: BTreeMap<String, (TokenHash, TokenView)>,
}

/// Everybody. Cheap to clone.
#[derive(Clone, Debug)]
pub struct People {
    owner: UserName,
    owner_token: TokenHash,
    owner_grants: Arc<Grants>,
    state: Arc<RwLock<State>>,
}

impl People {
    /// The pool's owner, whose token is a file of the state folder, and everybody of the database.
    #[must_use]
    pub fn new(owner_secret: &str, owner: UserName, found: FoundPeople) -> Self {
        let mut state = State::default();
        for user in found.users {
            state.users.insert(user.name.clone(), Entry::new(user));
        }
        for (user, queue, source, role) in found.roles {
            if let Some(entry) = state.users.get_mut(&user) {
                entry.roles.insert((queue, source), role);
            }
        }
        for entry in state.users.values_mut() {
            entry.count();
        }
        state.tokens =
            found.tokens.into_iter().map(|(hash, view)| (view.name.clone(), (hash, view))).collect();
        Self {
            owner,
            owner_token: hash(owner_secret),
            owner_grants: Arc::new(Grants::from([(String::new(), Role::Admin)])),
            state: Arc::new(RwLock::new(state)),
        }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pool's owner: administers it whatever anybody changes.
    #[must_use]
    pub const fn owner(&self) -> &UserName {
        &self.owner
    }

    /// Whom the secret behind a hash stands for, at a moment: while its token lives, so does what was begun with it. Looks at
    /// every token, whatever it finds, so that time tells nothing.
    #[must_use]
    pub fn of_token(&self, given: &TokenHash, now_ms: u64) -> Option<Principal> {
        let mut found = None;
        let same = |kept: &TokenHash| -> Choice { kept.ct_eq(given) };
        if bool::from(same(&self.owner_token)) {
            found = Some((self.owner.clone(), Scope::default()));
        }
        let state = self.state();
        for (kept, view) in state.tokens.values() {
            let alive = view.expires_ms.is_none_or(|end| now_ms < end);
            if bool::from(same(kept)) && alive {
                found = Some((UserName::from(view.user.as_str()), view.scope.clone()));
            }
        }
        let (user, scope) = found?;
        self.principal(&state, user, scope)
    }

    /// A user as themself, unless they are not there or may do nothing.
    #[must_use]
    pub fn of_user(&self, user: &UserName) -> Option<Principal> {
        self.principal(&self.state(), user.clone(), Scope::default())
    }

    fn principal(&self, state: &State, user: UserName, scope: Scope) -> Option<Principal> {
        if user == self.owner {
            return Some(Principal { user, grants: self.owner_grants.clone(), scope });
        }
        let entry = state.users.get(user.as_str()).filter(|entry| !entry.user.disabled)?;
        Some(Principal { user, grants: entry.grants.clone(), scope })
    }

    /// A user's account.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<User> {
        self.state().users.get(name).map(|entry| entry.user.clone())
    }

    /// Whether there is such a user: the owner is one.
    #[must_use]
    pub fn knows(&self, name: &str) -> bool {
        self.owner.as_str() == name || self.state().users.contains_key(name)
    }

    /// Whom a provider knows by this subject.
    #[must_use]
    pub fn by_subject(&self, origin: &Origin) -> Option<User> {
        let state = self.state();
        state.users.values().map(|entry| &entry.user).find(|user| user.origin == *origin).cloned()
    }

    /// Users with their roles by queue, by name.
    #[must_use]
    pub fn users(&self) -> Vec<(User, Arc<Grants>)> {
        let state = self.state();
        state.users.values().map(|entry| (entry.user.clone(), entry.grants.clone())).collect()
    }

    /// Roles by user and queue with who gave them, the owner's left out.
    #[must_use]
    pub fn roles(&self) -> Vec<(String, String, Source, Role)> {
        let state = self.state();
        let of = |(name, entry): (&String, &Entry)| {
            let roles = entry.roles.iter();
            let row = |((queue, source), role): (&(String, Source), &Role)| {
                (name.clone(), queue.clone(), *source, *role)
            };
            roles.map(row).collect::<Vec<_>>()
        };
        state.users.iter().flat_map(of).collect()
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenView> {
        self.state().tokens.values().map(|(_, view)| view.clone()).collect()
    }

    /// The token of a name.
    #[must_use]
    pub fn token(&self, name: &str) -> Option<TokenView> {
        self.state().tokens.get(name).map(|(_, view)| view.clone())
    }

    /// When the token behind a hash ends; `None`: never, or it is no token.
    #[must_use]
    pub fn end_of(&self, given: &TokenHash) -> Option<u64> {
        let state = self.state();
        let found = state.tokens.values().find(|(kept, _)| bool::from(kept.ct_eq(given)));
        found.and_then(|(_, view)| view.expires_ms)
    }

    /// Takes over a change that is durable.
    pub fn apply(&self, change: &PeopleChange) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        match change {
            PeopleChange::User(user) => match state.users.get_mut(&user.name) {
                Some(entry) => entry.user = user.clone(),
                None => drop(state.users.insert(user.name.clone(), Entry::new(user.clone()))),
            },
            PeopleChange::Role { user, queue, role } => {
                let Some(entry) = state.users.get_mut(user) else { return };
                let key = (queue.clone(), Source::Hand);
                match role {
                    Some(role) => drop(entry.roles.insert(key, *role)),
                    None => drop(entry.roles.remove(&key)),
                }
                entry.count();
            }
            PeopleChange::Groups { user, roles } => {
                let Some(entry) = state.users.get_mut(user) else { return };
                entry.roles.retain(|(_, source), _| *source != Source::Group);
                let given = roles.iter().map(|(queue, role)| ((queue.clone(), Source::Group), *role));
                entry.roles.extend(given);
                entry.count();
            }
            PeopleChange::QueueGone(gone) => {
                for entry in state.users.values_mut() {
                    entry.roles.retain(|(queue, _), _| queue != gone);
                    entry.count();
                }
            }
            PeopleChange::Token(hash, view) => {
                state.tokens.insert(view.name.clone(), (*hash, view.clone()));
            }
            PeopleChange::Revoke(name) => drop(state.tokens.remove(name)),
            PeopleChange::Session(_) | PeopleChange::SessionOver(_) | PeopleChange::SessionsOver(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> User {
        User {
            name: "ann".to_owned(),
            origin: Origin::Local,
            password: None,
            disabled: false,
            rate: None,
            created_ms: 1,
        }
    }

    fn token(expires_ms: Option<u64>) -> PeopleChange {
        let view = TokenView {
            name: "ci".to_owned(),
            user: "ann".to_owned(),
            scope: Scope { role: Role::Member, project: String::new() },
            created_ms: 1,
            expires_ms,
        };
        PeopleChange::Token(hash("ann-secret"), view)
    }

    #[test]
    fn tokens_come_go_and_end() {
        let people = People::new("local-secret", UserName::from("root"), FoundPeople::default());
        let of = |secret: &str, now| people.of_token(&hash(secret), now);
        assert_eq!(of("local-secret", 0).unwrap().role_at(""), Some(Role::Admin));
        assert_eq!(of("", 0), None);
        people.apply(&token(Some(100)));
        assert_eq!(of("ann-secret", 1), None, "a token of nobody");
        people.apply(&PeopleChange::User(ann()));
        assert_eq!(of("ann-secret", 99).unwrap().best(), None, "a user without a role may nothing");
        let role = Some(Role::Admin);
        people.apply(&PeopleChange::Role { user: "ann".to_owned(), queue: "lab".to_owned(), role });
        assert_eq!(of("ann-secret", 99).unwrap().role_at("lab/nlp"), Some(Role::Member), "the scope");
        assert_eq!(of("ann-secret", 100), None);
        people.apply(&token(None));
        assert!(of("ann-secret", u64::MAX).is_some());
        people.apply(&PeopleChange::User(User { disabled: true, ..ann() }));
        assert_eq!(of("ann-secret", 1), None);
        people.apply(&PeopleChange::User(ann()));
        people.apply(&PeopleChange::Revoke("ci".to_owned()));
        assert_eq!(of("ann-secret", 1), None);
    }

    #[test]
    fn groups_replace_groups_and_leave_what_was_given_by_hand() {
        let people = People::new("s", UserName::from("root"), FoundPeople::default());
        people.apply(&PeopleChange::User(ann()));
        let by_hand = |role| PeopleChange::Role { user: "ann".to_owned(), queue: "lab".to_owned(), role };
        let groups = |roles: &[(&str, Role)]| PeopleChange::Groups {
            user: "ann".to_owned(),
            roles: roles.iter().map(|(queue, role)| ((*queue).to_owned(), *role)).collect(),
        };
        let at = |queue: &str| people.of_user(&UserName::from("ann")).unwrap().role_at(queue);
        people.apply(&by_hand(Some(Role::Member)));
        people.apply(&groups(&[("lab", Role::Admin), ("other", Role::Viewer)]));
        assert_eq!([at("lab"), at("other")], [Some(Role::Admin), Some(Role::Viewer)]);
        people.apply(&groups(&[]));
        assert_eq!([at("lab"), at("other")], [Some(Role::Member), None]);
        people.apply(&PeopleChange::QueueGone("lab".to_owned()));
        assert_eq!(at("lab"), None);
    }
}
