//! Users, roles, tokens on the wire.

use crate::auth::rights::{Role, Scope};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};

/// Whom the token of a request stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoView {
    /// The user.
    pub user: String,
    /// Whether they may administer the pool.
    pub admin: bool,
    /// The roles that count with this token, by project; the empty path is the pool.
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
}

/// What is set of a user. What is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserBody {
    /// Nothing of theirs opens anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Requests a second they may send; 0: the pool's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    /// The name on jobs and in the audit log.
    pub name: String,
    /// `local`, or the identity provider they come from.
    pub origin: String,
    /// Whether a password lets them in.
    pub password: bool,
    /// Nothing of theirs opens anything.
    pub disabled: bool,
    /// Requests a second they may send; absent: the pool's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<u32>,
    /// Roles by project; the empty path is the pool.
    pub roles: BTreeMap<String, Role>,
    /// When they were added.
    pub created_ms: u64,
}

/// A new password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordBody {
    /// The new one, 10 characters at least.
    pub new: String,
    /// The one before: needed by those who change their own and administer nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

impl std::fmt::Debug for PasswordBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordBody(…)")
    }
}

/// A role to give or, without one, to take away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleBody {
    /// Whose.
    pub user: String,
    /// In which project, by the path of its queue; empty: in the pool.
    #[serde(default)]
    pub project: String,
    /// Which; absent: none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// Which roles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RoleQuery {
    /// Only this user's.
    pub user: Option<String>,
    /// Only those given in this project itself.
    pub project: Option<String>,
}

/// A role that somebody has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RoleView {
    /// Who.
    pub user: String,
    /// Where, and in all below; empty: in the pool.
    pub project: String,
    /// Which.
    pub role: Role,
    /// `hand`: an administrator gave it. `group`: a group of the identity provider did.
    pub source: String,
}

/// A project: a queue with people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProjectView {
    /// The path of its queue; empty: the pool.
    pub path: String,
    /// The caller's role there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Who has a role given here itself. Those with a role above have it here too.
    pub members: BTreeMap<String, Role>,
}

/// A token to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenBody {
    /// The user it stands for; absent: the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The most it allows of what its user may; absent: all of it.
    #[serde(default)]
    pub scope: Scope,
    /// How long it lasts; absent: until it is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_ms: Option<u64>,
}

/// A token that exists; its secret is kept only as a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// Its name.
    pub name: String,
    /// The user it stands for.
    pub user: String,
    /// The most it allows.
    pub scope: Scope,
    /// When it was made.
    pub created_ms: u64,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// A new token. The only time its secret is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// What is kept of it.
    #[serde(flatten)]
    pub token: TokenView,
    /// What goes behind `authorization: bearer`.
    pub secret: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken").field("token", &self.token).finish_non_exhaustive()
    }
}

/// A way to log in to the web page, once and soon.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginLink {
    /// What comes behind the server's address.
    pub path: String,
    /// How long it can be used.
    pub valid_ms: u64,
}

impl std::fmt::Debug for LoginLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginLink").field("valid_ms", &self.valid_ms).finish_non_exhaustive()
    }
}
