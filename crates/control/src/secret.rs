//! Secrets: sealed at rest, opened only for the instance that needs them.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize as _, Zeroizing};

use crate::clock::wall_ms;
use crate::files;
use crate::store::{SealedSecret, Store, StoreError};

const KEY_FILE: &str = "secret.key";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const VALUE_BYTES_MAX: usize = 64 * 1024;
const NAME_BYTES_MAX: usize = 128;

/// A value; wiped from memory when dropped, and never printed.
#[derive(Clone)]
pub struct SecretValue(Zeroizing<String>);

impl SecretValue {
    /// Wraps a value.
    ///
    /// # Errors
    ///
    /// [`SecretError::Value`] when it is no UTF-8, contains a zero byte, is empty or is too long.
    pub fn try_new(bytes: Vec<u8>) -> Result<Self, SecretError> {
        match String::from_utf8(bytes) {
            Ok(text) if (1..=VALUE_BYTES_MAX).contains(&text.len()) && !text.contains('\0') => {
                Ok(Self(Zeroizing::new(text)))
            }
            Ok(mut text) => {
                text.zeroize();
                Err(SecretError::Value)
            }
            Err(error) => {
                error.into_bytes().zeroize();
                Err(SecretError::Value)
            }
        }
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// What becomes of the versions before a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retire {
    /// They stay with the releases that were made with them.
    None,
    /// They are destroyed: a rollback gets the new value.
    Older,
}

/// Why a secret cannot be kept or had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The name is none.
    #[error(
        "`{0}` is no name of a secret: 1 to {NAME_BYTES_MAX} of A-Z, a-z, 0-9 and _, not beginning with a digit"
    )]
    Name(String),
    /// The value is none.
    #[error("a secret's value is 1 to {VALUE_BYTES_MAX} bytes of UTF-8 without zero bytes")]
    Value,
    /// There is no such secret.
    #[error("there is no secret `{name}`{}", version.map(|v| format!(" of version {v}")).unwrap_or_default())]
    Missing {
        /// Its name.
        name: String,
        /// The version asked for, if any.
        version: Option<u32>,
    },
    /// Kept values cannot be opened.
    #[error("`{name}` cannot be opened with {key}: it was sealed with another key", key = key.display())]
    Sealed {
        /// The secret.
        name: String,
        /// The key file.
        key: PathBuf,
    },
    /// The key file is unusable.
    #[error("the key file {path} cannot be used", path = path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Seals and opens.
pub(crate) struct Secrets {
    cipher: XChaCha20Poly1305,
    key_path: PathBuf,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets")
            .field("key_path", &self.key_path)
            .finish_non_exhaustive()
    }
}

impl Secrets {
    /// Reads the key of `state`, or makes one where nothing is sealed yet.
    ///
    /// # Errors
    ///
    /// [`SecretError::Key`] when the key is missing although values are kept, is not 32 bytes,
    /// or can be read by others.
    pub(crate) fn open(state: &Path, store: &Store) -> Result<Self, SecretError> {
        let key_path = state.join(KEY_FILE);
        let fail = |source| SecretError::Key {
            path: key_path.clone(),
            source,
        };
        if !key_path.exists() {
            if !store.secret_versions()?.is_empty() {
                return Err(fail(io::Error::new(
                    io::ErrorKind::NotFound,
                    "it is missing, and kept secrets were sealed with it",
                )));
            }
            let mut fresh = Zeroizing::new([0; KEY_BYTES]);
            random(&mut *fresh).map_err(fail)?;
            files::create_once(&key_path, &*fresh).map_err(fail)?;
        }
        let key = read_key(&key_path).map_err(fail)?;
        Ok(Self {
            cipher: XChaCha20Poly1305::new((&*key).into()),
            key_path,
        })
    }

    /// Keeps a new version of `name` and returns its number.
    ///
    /// # Errors
    ///
    /// [`SecretError::Name`], or when it cannot be written.
    pub(crate) fn set(
        &self,
        store: &mut Store,
        (name, value): (&str, &SecretValue),
        retire: Retire,
    ) -> Result<u32, SecretError> {
        check_name(name)?;
        let version = store.next_secret_version(name)?;
        let mut nonce = [0; NONCE_BYTES];
        random(&mut nonce).map_err(|source| self.key_error(source))?;
        let bound = bound_to(name, version);
        let payload = Payload {
            msg: value.expose().as_bytes(),
            aad: bound.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SecretError::Value)?;
        let secret = SealedSecret {
            version,
            nonce: nonce.to_vec(),
            sealed,
            set_ms: wall_ms(),
        };
        store.put_secret(name, &secret, retire)?;
        Ok(version)
    }

    /// The value that stands for `version` of `name`.
    ///
    /// # Errors
    ///
    /// [`SecretError::Missing`] when it was removed, [`SecretError::Sealed`] when the key is
    /// another one.
    pub(crate) fn value(
        &self,
        store: &Store,
        name: &str,
        version: u32,
    ) -> Result<SecretValue, SecretError> {
        let missing = || SecretError::Missing {
            name: name.to_owned(),
            version: Some(version),
        };
        let secret = store.secret(name, version)?.ok_or_else(missing)?;
        let sealed = || SecretError::Sealed {
            name: name.to_owned(),
            key: self.key_path.clone(),
        };
        let nonce: [u8; NONCE_BYTES] = secret.nonce.try_into().map_err(|_| sealed())?;
        let bound = bound_to(name, secret.version);
        let payload = Payload {
            msg: &secret.sealed,
            aad: bound.as_bytes(),
        };
        let opened = self.cipher.decrypt(&XNonce::from(nonce), payload);
        SecretValue::try_new(opened.map_err(|_| sealed())?)
    }

    /// The newest value of `name`.
    ///
    /// # Errors
    ///
    /// As [`Self::value`].
    pub(crate) fn newest(&self, store: &Store, name: &str) -> Result<SecretValue, SecretError> {
        let versions = store.secret_versions()?;
        let newest = versions.get(name).and_then(|all| all.last());
        let (version, _) = newest.ok_or_else(|| SecretError::Missing {
            name: name.to_owned(),
            version: None,
        })?;
        self.value(store, name, *version)
    }

    fn key_error(&self, source: io::Error) -> SecretError {
        SecretError::Key {
            path: self.key_path.clone(),
            source,
        }
    }
}

/// What a sealed value is bound to, so that none can be put in another's place.
fn bound_to(name: &str, version: u32) -> String {
    format!("gapless secret {name} {version}")
}

fn check_name(name: &str) -> Result<(), SecretError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(SecretError::Name(name.to_owned()))
    }
}

fn random(bytes: &mut [u8]) -> io::Result<()> {
    getrandom::fill(bytes).map_err(|error| io::Error::other(error.to_string()))
}

fn read_key(path: &Path) -> io::Result<Zeroizing<[u8; KEY_BYTES]>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others may read it (mode {:o}): chmod 600", mode & 0o777),
        ));
    }
    let bytes = Zeroizing::new(std::fs::read(path)?);
    let key = <[u8; KEY_BYTES]>::try_from(bytes.as_slice());
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it does not hold 32 bytes");
    key.map(Zeroizing::new).map_err(wrong)
}
