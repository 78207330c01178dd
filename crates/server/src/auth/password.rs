//! Passwords: argon2id, two at a time, and the same work whether the account exists or not.

use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::{Arc, OnceLock};
use tokio::sync::Semaphore;

/// The shortest password, in characters (NIST SP 800-63B-4: 15 where it is the only factor, 8 at the least).
pub const SHORTEST: usize = 10;
/// The longest, in bytes: more is no password.
pub const LONGEST: usize = 1024;
/// Hashed at once: each takes 19 MiB for some tens of milliseconds.
const AT_ONCE: usize = 2;

/// Why a password cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short to withstand guessing.
    #[error("a password has at least {SHORTEST} characters")]
    TooShort,
    /// Longer than anything typed.
    #[error("a password has at most {LONGEST} bytes")]
    TooLong,
    /// The kernel has no randomness, or the server ends.
    #[error("the password cannot be hashed now")]
    NotNow,
}

/// OWASP's parameters of 2024 for argon2id: 19 MiB, two passes, one lane.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

fn room() -> &'static Arc<Semaphore> {
    static ROOM: OnceLock<Arc<Semaphore>> = OnceLock::new();
    ROOM.get_or_init(|| Arc::new(Semaphore::new(AT_ONCE)))
}

/// A password as it is kept: a PHC string with its own salt.
///
/// # Errors
/// When it is too short or too long.
pub async fn keep(password: String) -> Result<String, PasswordError> {
    if password.chars().count() < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    if password.len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    let not_now = |_why| PasswordError::NotNow;
    let _permit = room().acquire().await.map_err(|_closed| PasswordError::NotNow)?;
    let hashed = tokio::task::spawn_blocking(move || hasher().hash_password(password.as_bytes()));
    Ok(hashed.await.map_err(|_panic| PasswordError::NotNow)?.map_err(not_now)?.to_string())
}

/// Whether a password is the one that was kept. Without one it is never, and takes as long to say so.
pub async fn is(password: String, kept: Option<String>) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    if password.len() > LONGEST {
        return false;
    }
    let Ok(_permit) = room().acquire().await else { return false };
    let checked = tokio::task::spawn_blocking(move || {
        let nobody = || hasher().hash_password(b"nobody").map(|hash| hash.to_string()).unwrap_or_default();
        let exists = kept.is_some();
        let kept = kept.unwrap_or_else(|| NOBODY.get_or_init(nobody).clone());
        let same = PasswordHash::new(&kept)
            .is_ok_and(|hash| hasher().verify_password(password.as_bytes(), &hash).is_ok());
        same && exists
    });
    checked.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn passwords_are_kept_salted_and_found_again() {
        let kept = keep("correct horse".to_owned()).await.unwrap();
        assert!(kept.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && !kept.contains("horse"));
        assert_ne!(kept, keep("correct horse".to_owned()).await.unwrap());
        assert!(is("correct horse".to_owned(), Some(kept.clone())).await);
        assert!(!is("correct hors".to_owned(), Some(kept)).await);
        assert!(!is("nobody".to_owned(), None).await);
        assert!(!is(String::new(), Some("not a hash".to_owned())).await);
        assert_eq!(keep("123456789".to_owned()).await, Err(PasswordError::TooShort));
        assert_eq!(keep("x".repeat(LONGEST + 1)).await, Err(PasswordError::TooLong));
    }
}
