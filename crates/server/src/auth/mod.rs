//! Who a request comes from and what they may: users, roles, tokens, passwords.
//!
//! | | |
//! |---|---|
//! | [`rights`] | what a role allows, decided here alone |
//! | [`people`] | users, roles and tokens as they are |
//! | [`password`] | argon2 |
//! | [`oidc`] | identity providers |
//! | [`tries`] | waiting after wrong passwords and tokens |
//! | [`pace`] | how many requests a user may send |
//!
//! Secrets of tokens and sessions are random and kept only as SHA-256.

pub mod oidc;
pub mod pace;
pub mod password;
pub mod people;
pub mod rights;
pub mod tries;

use sha2::{Digest, Sha256};

/// SHA-256 of a secret of 256 random bits, so no salt and no slow hash is needed.
pub type TokenHash = [u8; 32];

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
