//! Tickets with which clients resume a session, at any worker.
//!
//! The keys lie in one file of the state directory, which only the server may read. A ticket
//! is sealed with the newest key; older ones are kept until every ticket of theirs has ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use chacha20poly1305::aead::Aead as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// How long a key seals new tickets.
const USED_SECONDS: u64 = 6 * 3_600;
/// How many keys are kept; a ticket lives as long as its key.
const KEYS: usize = 3;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// When it was made, then the key.
const ENTRY_BYTES: usize = 8 + KEY_BYTES;

/// The keys of tickets.
#[derive(Debug)]
pub struct Tickets {
    /// `None`: nobody else has the keys.
    path: Option<PathBuf>,
    /// Newest first; never empty.
    keys: RwLock<Vec<Key>>,
    /// Held while the file is replaced.
    renewing: Mutex<()>,
}

#[derive(Clone)]
struct Key {
    made: u64,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({}, …)", self.made)
    }
}

impl Tickets {
    /// The keys in the file at `path`; new ones if there is none, or none that can be read.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    pub fn open(path: &Path) -> io::Result<Self> {
        let tickets = Self {
            path: Some(path.to_owned()),
            keys: RwLock::new(vec![Key::new(now())?]),
            renewing: Mutex::new(()),
        };
        tickets.renew()?;
        Ok(tickets)
    }

    /// Keys that no other worker has.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    pub fn unshared() -> io::Result<Self> {
        Ok(Self {
            path: None,
            keys: RwLock::new(vec![Key::new(now())?]),
            renewing: Mutex::new(()),
        })
    }

    /// Takes over what another worker wrote, and makes a new key when the newest is old.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes. A file that cannot be written is logged: then
    /// sessions are resumed by this worker alone.
    pub fn renew(&self) -> io::Result<()> {
        let _renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let mut keys = match &self.path {
            Some(path) => read(path),
            None => self.with_keys(<[Key]>::to_vec),
        };
        if keys.first().is_none_or(|key| key.is_old(now)) {
            keys.insert(0, Key::new(now)?);
            keys.truncate(KEYS);
            let written = self.path.as_ref().map_or(Ok(()), |path| write(path, &keys));
            if let Err(error) = written {
                tracing::warn!(%error, "the keys of session tickets cannot be written");
            }
        }
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn with_keys<T>(&self, look: impl FnOnce(&[Key]) -> T) -> T {
        look(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Key {
    fn new(made: u64) -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
        Ok(Self { made, bytes })
    }

    /// True once it seals no more. One from the future was made by a clock that was wrong.
    fn is_old(&self, now: u64) -> bool {
        now.abs_diff(self.made) >= USED_SECONDS
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.bytes).into())
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(USED_SECONDS * (KEYS as u64 - 1)).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).ok()?;
        let cipher = self.with_keys(|keys| keys.first().map(Key::cipher))?;
        let sealed = cipher.encrypt(&XNonce::from(nonce), plain).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_BYTES>()?;
        let nonce = XNonce::from(*nonce);
        self.with_keys(|keys| {
            let mut keys = keys.iter();
            keys.find_map(|key| key.cipher().decrypt(&nonce, sealed).ok())
        })
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The keys in the file; none if it is missing, torn or not ours.
fn read(path: &Path) -> Vec<Key> {
    let mut bytes = Zeroizing::new([0; ENTRY_BYTES * KEYS]);
    let mut length = 0;
    let Ok(mut file) = File::open(path) else {
        return Vec::new();
    };
    while let Ok(read) = file.read(&mut bytes[length..]) {
        if read == 0 {
            break;
        }
        length += read;
    }
    let entries = bytes[..length].chunks_exact(ENTRY_BYTES);
    let key = |entry: &[u8]| {
        let (made, key) = entry.split_first_chunk::<8>()?;
        Some(Key {
            made: u64::from_be_bytes(*made),
            bytes: Zeroizing::new(key.try_into().ok()?),
        })
    };
    entries.filter_map(key).collect()
}

fn write(path: &Path, keys: &[Key]) -> io::Result<()> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(ENTRY_BYTES * KEYS));
    for key in keys {
        bytes.extend_from_slice(&key.made.to_be_bytes());
        bytes.extend_from_slice(&*key.bytes);
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let written = options
        .open(&fresh)
        .and_then(|mut file| file.write_all(&bytes))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // What is left of the attempt is of no use.
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(tickets: &Tickets) -> Vec<u8> {
        tickets.encrypt(b"session").unwrap()
    }

    fn at(made: u64) -> Key {
        Key {
            made,
            bytes: Zeroizing::new([made as u8; KEY_BYTES]),
        }
    }

    #[test]
    fn what_one_worker_seals_another_opens() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("tickets");
        let one = Tickets::open(&path).unwrap();
        let ticket = sealed(&one);
        let other = Tickets::open(&path).unwrap();
        assert_eq!(other.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        let mut changed = ticket;
        *changed.last_mut().unwrap() ^= 1;
        assert_eq!(other.decrypt(&changed), None);
        assert_eq!(other.decrypt(b"short"), None);
    }

    #[test]
    fn an_old_key_still_opens_and_the_oldest_goes() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("tickets");
        let old = now() - USED_SECONDS;
        write(&path, &[at(old), at(old - 1), at(old - 2)]).unwrap();
        let tickets = Tickets::open(&path).unwrap();
        let kept: Vec<u64> = read(&path).iter().map(|key| key.made).collect();
        assert_eq!(kept.len(), KEYS);
        assert_eq!(kept[1..], [old, old - 1]);
        let nonce = [7; NONCE_BYTES];
        let by_old = at(old).cipher().encrypt(&XNonce::from(nonce), &b"x"[..]);
        let ticket = [&nonce[..], &by_old.unwrap()].concat();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"x"[..]));
    }

    #[test]
    fn the_file_is_for_its_owner_alone_and_a_torn_one_is_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("tickets");
        fs::write(&path, b"torn").unwrap();
        let tickets = Tickets::open(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(tickets.decrypt(&sealed(&tickets)).is_some());
        assert!(!format!("{tickets:?}").contains("bytes"));
    }
}
