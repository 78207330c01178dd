//! What roles allow: the one place where that is decided, and nothing is allowed that is not written here.
//!
//! A role is given at a queue and holds for all below it; at the empty path it holds for the pool. What a request wants is
//! a [`Right`] at a [`Place`]. A token's [`Scope`] can only take away.
//!
//! ```text
//! roles of the user ─▶ highest that reaches the queue ─▶ at most the token's scope ─▶ enough for the right?
//! ```

use pond_core::ids::UserName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What a user is in a project. Each has all that the one before has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Sees jobs, their state, what they use and why they wait; not what they print.
    Viewer,
    /// Submits, and does with their own jobs what they want.
    Member,
    /// Does the same with the jobs of others, and reads what they print.
    Maintainer,
    /// Gives roles, makes and limits queues below, and goes inside the tasks of others.
    Admin,
}

impl Role {
    /// All, from the least.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Member, Self::Maintainer, Self::Admin];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Member => "member",
            Self::Maintainer => "maintainer",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a request wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Right {
    /// See the pool's machines and how full it is, or the queue, its use and its jobs.
    See,
    /// Submit a job.
    Submit,
    /// Stop, pause, resume, retry, resize, remove a job; read its command and its output.
    Handle,
    /// Run commands in a job's tasks, reach their ports, copy their files.
    Enter,
    /// Give and take roles.
    People,
    /// Make, change, remove a queue. The place is the queue above it.
    Shape,
    /// Machines, secrets, users, the server itself. The place is the pool.
    Operate,
}

/// Where a request wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Somewhere: what is shown is cut to what the user may see.
    Anywhere,
    /// The pool as a whole.
    Pool,
    /// A queue, by its path.
    Queue(&'a str),
    /// A job of this user in this queue.
    Job {
        /// Who submitted it.
        user: &'a str,
        /// Its queue.
        queue: &'a str,
    },
}

/// The role that a right takes; `own`: on a job of their own.
const fn least(right: Right, own: bool) -> Role {
    match (right, own) {
        (Right::See, _) => Role::Viewer,
        (Right::Submit, _) | (Right::Handle | Right::Enter, true) => Role::Member,
        (Right::Handle, false) => Role::Maintainer,
        (Right::Enter, false) | (Right::People | Right::Shape | Right::Operate, _) => Role::Admin,
    }
}

/// Roles by queue.
pub type Grants = BTreeMap<String, Role>;

/// The most that a token allows, whatever its user may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Scope {
    /// No role above this counts.
    pub role: Role,
    /// Only this queue and those below; empty: the pool.
    #[serde(default)]
    pub project: String,
}

impl Default for Scope {
    /// All that the user may.
    fn default() -> Self {
        Self { role: Role::Admin, project: String::new() }
    }
}

impl Scope {
    /// Whether it allows nothing that the other does not.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.role <= other.role && covers(&other.project, &self.project)
    }
}

/// Who a request comes from, and what they may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user.
    pub user: UserName,
    /// Their roles.
    pub grants: Arc<Grants>,
    /// What their token allows of them.
    pub scope: Scope,
}

impl Principal {
    /// The role that counts at a queue.
    #[must_use]
    pub fn role_at(&self, queue: &str) -> Option<Role> {
        if !covers(&self.scope.project, queue) {
            return None;
        }
        let reaching = self.grants.iter().filter(|(path, _)| covers(path, queue));
        reaching.map(|(_, role)| *role).max().map(|role| role.min(self.scope.role))
    }

    /// Where their roles begin, within the scope: what they see lies at or below one of these. `[""]` sees all.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let scope = &self.scope.project;
        let mut roots: Vec<String> = self
            .grants
            .keys()
            .filter_map(|path| match (covers(path, scope), covers(scope, path)) {
                (true, _) => Some(scope.clone()),
                (false, true) => Some(path.clone()),
                (false, false) => None,
            })
            .collect();
        roots.dedup();
        roots
    }

    /// The highest role anywhere.
    #[must_use]
    pub fn best(&self) -> Option<Role> {
        self.roots().iter().filter_map(|path| self.role_at(path)).max()
    }

    /// Whether this is allowed there.
    #[must_use]
    pub fn may(&self, right: Right, place: Place<'_>) -> bool {
        let (role, own) = match place {
            Place::Anywhere => (self.best(), true),
            Place::Pool => (self.role_at(""), true),
            Place::Queue(queue) => (self.role_at(queue), true),
            Place::Job { user, queue } => (self.role_at(queue), self.user.as_str() == user),
        };
        role.is_some_and(|role| role >= least(right, own))
    }

    /// Whether they see a queue or one below it.
    #[must_use]
    pub fn sees_way_to(&self, queue: &str) -> bool {
        self.role_at(queue).is_some() || self.roots().iter().any(|root| covers(queue, root))
    }
}

/// Whether a queue is at or below a path.
#[must_use]
pub fn covers(path: &str, queue: &str) -> bool {
    path.is_empty() || queue.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The queue above; of one at the top, the pool.
#[must_use]
pub fn above(queue: &str) -> &str {
    queue.rsplit_once('/').map_or("", |(above, _)| above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn user(grants: &[(&str, Role)]) -> Principal {
        let grants = grants.iter().map(|(path, role)| ((*path).to_owned(), *role)).collect();
        Principal { user: UserName::from("ann"), grants: Arc::new(grants), scope: Scope::default() }
    }

    #[test]
    fn roles_go_down_the_tree_and_nowhere_else() {
        let ann = user(&[("lab", Role::Member), ("lab/nlp", Role::Admin)]);
        assert_eq!(ann.role_at("lab"), Some(Role::Member));
        assert_eq!(ann.role_at("lab/vision"), Some(Role::Member));
        assert_eq!(ann.role_at("lab/nlp"), Some(Role::Admin));
        assert_eq!([ann.role_at(""), ann.role_at("laboratory"), ann.role_at("other")], [None; 3]);
        assert!(ann.may(Right::Enter, Place::Job { user: "bob", queue: "lab/nlp" }));
        assert!(!ann.may(Right::Handle, Place::Job { user: "bob", queue: "lab" }));
        assert!(ann.may(Right::Handle, Place::Job { user: "ann", queue: "lab" }));
        assert!(!ann.may(Right::Handle, Place::Job { user: "ann", queue: "other" }), "who left has left");
        assert!(!ann.may(Right::Shape, Place::Queue(above("lab/nlp"))), "nobody sets their own quota");
        assert!(ann.sees_way_to("lab") && ann.sees_way_to("") && !ann.sees_way_to("other"));
        assert!(!ann.may(Right::Operate, Place::Pool) && ann.may(Right::See, Place::Anywhere));
        assert_eq!(user(&[]).best(), None);
    }

    fn paths() -> impl Strategy<Value = String> {
        proptest::collection::vec("[ab]", 0..3).prop_map(|parts| parts.join("/"))
    }

    fn roles() -> impl Strategy<Value = Role> {
        proptest::sample::select(Role::ALL.to_vec())
    }

    proptest! {
        /// A scope never adds, a role more never takes away, and what is not given nowhere is allowed.
        #[test]
        fn scopes_take_away_and_roles_add(
            grants in proptest::collection::btree_map(paths(), roles(), 0..4),
            more in (paths(), roles()), scope in (roles(), paths()), queue in paths(), own in any::<bool>(),
        ) {
            let whole = Principal { user: UserName::from("ann"), grants: Arc::new(grants.clone()), scope: Scope::default() };
            let narrow = Principal { scope: Scope { role: scope.0, project: scope.1 }, ..whole.clone() };
            let mut added = grants.clone();
            added.entry(more.0).and_modify(|role| *role = (*role).max(more.1)).or_insert(more.1);
            let wide = Principal { grants: Arc::new(added), ..whole.clone() };
            let job = Place::Job { user: if own { "ann" } else { "bob" }, queue: &queue };
            for right in [Right::See, Right::Submit, Right::Handle, Right::Enter, Right::People, Right::Shape, Right::Operate] {
                for place in [Place::Anywhere, Place::Pool, Place::Queue(&queue), job] {
                    prop_assert!(!narrow.may(right, place) || whole.may(right, place));
                    prop_assert!(!whole.may(right, place) || wide.may(right, place));
                    prop_assert!(!whole.may(right, place) || !grants.is_empty());
                    prop_assert!(!whole.may(right, place) || whole.may(right, Place::Anywhere));
                    prop_assert!(!narrow.may(right, place) || narrow.may(right, Place::Anywhere));
                }
            }
        }
    }
}
