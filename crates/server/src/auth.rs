//! Tokens: who a request comes from. Random, kept only as SHA-256, compared in constant time.

use crate::api::types::TokenView;
use pond_core::ids::UserName;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use subtle::{Choice, ConstantTimeEq};

/// SHA-256 of a token's secret. The secret has 256 random bits, so no salt and no slow hash is needed.
pub type TokenHash = [u8; 32];

/// Who a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The user the token stands for.
    pub user: UserName,
    /// Whether it may administer the pool.
    pub admin: bool,
}

/// Every token there is. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    local: Arc<(TokenHash, Principal)>,
    named: Arc<RwLock<BTreeMap<String, (TokenHash, TokenView)>>>,
}

/// The hash under which a secret is kept.
#[must_use]
pub fn hash(secret: &str) -> TokenHash {
    Sha256::digest(secret.as_bytes()).into()
}

/// The hash of any bytes.
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> TokenHash {
    Sha256::digest(bytes).into()
}

impl Tokens {
    /// The local administrator's token, and the named ones of the database.
    #[must_use]
    pub fn new(local_secret: &str, local_user: UserName, named: Vec<(TokenHash, TokenView)>) -> Self {
        let local = (hash(local_secret), Principal { user: local_user, admin: true });
        let named = named.into_iter().map(|(hash, view)| (view.name.clone(), (hash, view))).collect();
        Self { local: Arc::new(local), named: Arc::new(RwLock::new(named)) }
    }

    /// Whom a secret stands for. Looks at every token, whatever it finds, so that time tells nothing.
    #[must_use]
    pub fn check(&self, secret: &str) -> Option<Principal> {
        self.of_hash(&hash(secret))
    }

    /// Whom the secret behind a hash stands for: while its token lives, so does what was begun with it.
    #[must_use]
    pub fn of_hash(&self, given: &TokenHash) -> Option<Principal> {
        let mut found = None;
        let same = |kept: &TokenHash| -> Choice { kept.ct_eq(given) };
        if bool::from(same(&self.local.0)) {
            found = Some(self.local.1.clone());
        }
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        for (kept, view) in named.values() {
            if bool::from(same(kept)) {
                found = Some(Principal { user: UserName(view.user.clone()), admin: view.admin });
            }
        }
        found
    }

    /// Makes a token current, once it is durable.
    pub fn put(&self, hash: TokenHash, view: TokenView) {
        self.named.write().unwrap_or_else(PoisonError::into_inner).insert(view.name.clone(), (hash, view));
    }

    /// Revokes a token.
    pub fn remove(&self, name: &str) {
        self.named.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// The named tokens.
    #[must_use]
    pub fn list(&self) -> Vec<TokenView> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.values().map(|(_, view)| view.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_and_go() {
        let tokens = Tokens::new("local-secret", UserName::from("root"), Vec::new());
        assert!(tokens.check("local-secret").unwrap().admin);
        assert_eq!(tokens.check(""), None);
        let view = TokenView { name: "ci".to_owned(), user: "bot".to_owned(), admin: false, created_ms: 1 };
        tokens.put(hash("bot-secret"), view.clone());
        assert_eq!(tokens.check("bot-secret"), Some(Principal { user: UserName::from("bot"), admin: false }));
        assert_eq!(tokens.list(), [view]);
        tokens.remove("ci");
        assert_eq!(tokens.check("bot-secret"), None);
    }
}
