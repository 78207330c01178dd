//! Passwords: argon2id, two at a time, and the same work whether the account exists or not.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use tokio::sync::oneshot;

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
fn params() -> Params {
    Params::default()
}

/// The hash of a password, in memory that is used again and again: what the allocator gives for it, aligned as it has to be, glibc before
/// 2.38 does not give a second time.
fn derive(memory: &mut Vec<Block>, params: Params, password: &[u8], salt: &[u8]) -> Option<Output> {
    memory.resize(memory.len().max(params.block_count()), Block::new());
    let mut output = vec![0; params.output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN)];
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    hasher.hash_password_into_with_memory(password, salt, &mut output, memory.as_mut_slice()).ok()?;
    Output::new(&output).ok()
}

fn fresh(memory: &mut Vec<Block>, password: &[u8]) -> Option<String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).ok()?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params()).ok()?,
        salt: Some(Salt::new(&salt).ok()?),
        hash: Some(derive(memory, params(), password, &salt)?),
    };
    Some(hash.to_string())
}

/// Whether the hash is that of the password. What is compared takes the same time wherever it differs.
fn fits(memory: &mut Vec<Block>, password: &[u8], kept: &str) -> Option<bool> {
    let hash = PasswordHash::new(kept).ok().filter(|hash| hash.algorithm == ARGON2ID_IDENT)?;
    let output = derive(memory, Params::try_from(&hash).ok()?, password, hash.salt?.as_ref())?;
    Some(hash.hash == Some(output))
}

type Work = Box<dyn FnOnce(&mut Vec<Block>) + Send>;

/// Does the work on one of [`AT_ONCE`] threads, each with its own memory. `None`: no thread can be had, or the work panicked.
async fn hash<T: Send + 'static>(work: impl FnOnce(&mut Vec<Block>) -> T + Send + 'static) -> Option<T> {
    static HANDS: OnceLock<mpsc::Sender<Work>> = OnceLock::new();
    let hands = HANDS.get_or_init(|| {
        let (sender, queue) = mpsc::channel::<Work>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..AT_ONCE {
            let queue = Arc::clone(&queue);
            let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let run = move || {
                let mut memory = Vec::new();
                while let Ok(work) = next() {
                    // Whoever waits for it sees that it is gone.
                    drop(catch_unwind(AssertUnwindSafe(|| work(&mut memory))));
                }
            };
            // Where there is none the queue ends here, and nobody gets in.
            drop(std::thread::Builder::new().name("pond-hash".to_owned()).spawn(run));
        }
        sender
    });
    let (reply, done) = oneshot::channel();
    let work: Work = Box::new(move |memory| reply.send(work(memory)).map_err(drop).unwrap_or_default());
    hands.send(work).ok()?;
    done.await.ok()
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
    let hashed = hash(move |memory| fresh(memory, password.as_bytes())).await;
    hashed.flatten().ok_or(PasswordError::NotNow)
}

/// Whether a password is the one that was kept. Without one it is never, and takes as long to say so.
pub async fn is(password: String, kept: Option<String>) -> bool {
    static NOBODY: OnceLock<String> = OnceLock::new();
    if password.len() > LONGEST {
        return false;
    }
    let checked = hash(move |memory| {
        let exists = kept.is_some();
        let kept = kept
            .unwrap_or_else(|| NOBODY.get_or_init(|| fresh(memory, b"nobody").unwrap_or_default()).clone());
        fits(memory, password.as_bytes(), &kept) == Some(true) && exists
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
        // Made by libargon2, with other parameters and another length.
        let before = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$UVnsdTdJlF4hUvHUMPJ8szXU8YysXSmZ";
        assert!(is("correct horse".to_owned(), Some(before.to_owned())).await);
        assert!(!is("correct hors".to_owned(), Some(kept)).await);
        assert!(!is("nobody".to_owned(), None).await);
        assert!(!is(String::new(), Some("not a hash".to_owned())).await);
        assert_eq!(keep("123456789".to_owned()).await, Err(PasswordError::TooShort));
        assert_eq!(keep("x".repeat(LONGEST + 1)).await, Err(PasswordError::TooLong));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn many_who_knock_at_once_take_the_memory_of_two() {
        let resident = |what: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with(what)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
        };
        let before = resident("RssAnon");
        let knocks: Vec<_> = (0..60).map(|_| tokio::spawn(is("a password".to_owned(), None))).collect();
        for knock in knocks {
            assert!(!knock.await.unwrap());
        }
        let most = resident("RssAnon") - before;
        // 19 MiB each, and a little for all else.
        assert!(most < 3 * 19, "{most} MiB");
    }
}
