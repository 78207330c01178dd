//! Secrets: sealed with XChaCha20-Poly1305 under a key of the state folder, open only on their way into a task.
//!
//! The name is bound to the sealed value, so that values cannot be swapped in the file.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Bytes of the nonce, in front of each sealed value. Random: 192 bits do not meet twice.
const NONCE: usize = 24;
/// The largest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;

/// Why a secret cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Not a name a variable can have.
    #[error("`{name}` cannot be the name of a secret; use letters, digits and _, not starting with a digit")]
    BadName {
        /// The name.
        name: String,
    },
    /// Too large.
    #[error("secret `{name}` has {len} bytes; at most {MAX_VALUE} are kept")]
    TooLarge {
        /// The name.
        name: String,
        /// Its value's length in bytes.
        len: usize,
    },
    /// It holds a byte that no variable can.
    #[error("secret `{name}` holds a zero byte, which no variable can")]
    ZeroByte {
        /// The name.
        name: String,
    },
    /// The kernel has no randomness.
    #[error("secret `{name}` cannot be sealed: no randomness from the kernel")]
    NoRandomness {
        /// The name.
        name: String,
    },
    /// The value cannot be encrypted.
    #[error("secret `{name}` cannot be sealed")]
    NotSealed {
        /// The name.
        name: String,
    },
}

/// The sealed secrets and the key to them. Cheap to clone; prints nothing of its content.
#[derive(Clone)]
pub struct Secrets {
    cipher: Arc<XChaCha20Poly1305>,
    key: [u8; 32],
    sealed: Arc<RwLock<BTreeMap<String, Vec<u8>>>>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

impl Secrets {
    /// Secrets as the database holds them, under the key in the state folder (64 hexadecimal digits).
    #[must_use]
    pub fn new(key_hex: &str, sealed: BTreeMap<String, Vec<u8>>) -> Self {
        let mut key = [0_u8; 32];
        for (byte, pair) in key.iter_mut().zip(key_hex.as_bytes().chunks(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|t| u8::from_str_radix(t, 16).ok()).unwrap_or(0);
        }
        Self {
            cipher: Arc::new(XChaCha20Poly1305::new((&key).into())),
            key,
            sealed: Arc::new(RwLock::new(sealed)),
        }
    }

    /// Seals a value for the database.
    ///
    /// # Errors
    /// A bad name, a value too large or with a zero byte.
    pub fn seal(&self, name: &str, value: &str) -> Result<Vec<u8>, SecretError> {
        check_name(name)?;
        let name = || name.to_owned();
        if value.len() > MAX_VALUE {
            return Err(SecretError::TooLarge { name: name(), len: value.len() });
        }
        if value.contains('\0') {
            return Err(SecretError::ZeroByte { name: name() });
        }
        let mut nonce = [0_u8; NONCE];
        getrandom::fill(&mut nonce).map_err(|_why| SecretError::NoRandomness { name: name() })?;
        let aad = name();
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: value.as_bytes(), aad: aad.as_bytes() })
            .map_err(|_why| SecretError::NotSealed { name: name() })?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// 32 bytes that follow from the key and a label, and that tell nothing of the key or of those of another label: for keys
    /// and ids that need not be stored.
    #[must_use]
    pub fn derive(&self, label: &str) -> [u8; 32] {
        authenticate(&self.key, format!("pond derives\0{label}").as_bytes())
    }

    /// Makes a sealed value current, once it is durable.
    pub fn put(&self, name: &str, sealed: Vec<u8>) {
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), sealed);
    }

    /// Forgets a value.
    pub fn remove(&self, name: &str) {
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether there is one of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.sealed.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// The value, for a task's environment. `None` when there is none or it was tampered with.
    #[must_use]
    pub fn open(&self, name: &str) -> Option<String> {
        let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
        let (nonce, body) = sealed.get(name)?.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: body, aad: name.as_bytes() };
        let bytes = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        String::from_utf8(bytes).ok()
    }
}

/// HMAC-SHA256 (RFC 2104) of a text under a key.
#[must_use]
pub fn authenticate(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    // A key shorter than a block is filled up with zeros.
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new(&block.into());
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// Whether a variable can have this name.
fn check_name(name: &str) -> Result<(), SecretError> {
    let mut bytes = name.bytes();
    let head = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if head && name.len() <= 128 && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(SecretError::BadName { name: name.chars().take(64).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Secrets {
        Secrets::new(&"5a".repeat(32), BTreeMap::new())
    }

    #[test]
    fn sealed_values_open_only_under_their_name() {
        let secrets = fresh();
        let sealed = secrets.seal("HF_TOKEN", "hunter2").unwrap();
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        secrets.put("HF_TOKEN", sealed.clone());
        secrets.put("OTHER", sealed.clone());
        assert_eq!(secrets.open("HF_TOKEN").as_deref(), Some("hunter2"));
        assert_eq!(secrets.open("OTHER"), None);
        let other_key = Secrets::new(&"5b".repeat(32), BTreeMap::from([("HF_TOKEN".to_owned(), sealed)]));
        assert_eq!(other_key.open("HF_TOKEN"), None);
        assert_eq!(format!("{secrets:?}"), "Secrets(…)");
    }

    #[test]
    fn what_is_derived_stays_and_differs_by_label_and_key() {
        let secrets = fresh();
        assert_eq!(secrets.derive("a"), fresh().derive("a"));
        assert_ne!(secrets.derive("a"), secrets.derive("b"));
        assert_ne!(secrets.derive("a"), Secrets::new(&"5b".repeat(32), BTreeMap::new()).derive("a"));
    }

    #[test]
    fn bad_secrets_are_refused_without_their_value() {
        let secrets = fresh();
        for (name, value) in [("", "v"), ("1A", "v"), ("A-B", "v"), ("A", "hunter2\0"), ("A=B", "hunter2")] {
            let refusal = secrets.seal(name, value).unwrap_err().to_string();
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        assert!(secrets.seal("A", &"x".repeat(MAX_VALUE + 1)).is_err());
        assert!(secrets.seal("A", &"x".repeat(MAX_VALUE)).is_ok());
    }
}
