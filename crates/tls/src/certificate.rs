//! A certificate with its key, read from two files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::CertificateFiles;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
use zeroize::{Zeroize as _, Zeroizing};

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Permissions that a key's file may not have: any for everybody.
const OTHERS: u32 = 0o007;

/// A certificate that can be served.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The host names it is for, in lower case; `*.` in front stands for one label.
    pub names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: i64,
    pub(crate) key: Arc<CertifiedKey>,
}

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody may read or write a key.
    #[error("the key {} is open to everybody (mode {mode:o}): run `chmod o-rwx {}`", path.display(), path.display())]
    OpenToOthers {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} holds no {what} in PEM form", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// It is of a kind that cannot be used, or does not belong to its key.
    #[error("{} cannot be used: {reason}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What tells whether files have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(u64, i64, i64, u64)>>);

impl Stamp {
    /// A certificate's files as they are now.
    #[must_use]
    pub fn of(files: &CertificateFiles) -> Self {
        Self::of_paths([&files.cert, &files.key].into_iter())
    }

    /// These files as they are now.
    pub(crate) fn of_paths<'a>(paths: impl Iterator<Item = &'a String>) -> Self {
        let stamp = |path: &String| {
            let seen = std::fs::metadata(path).ok()?;
            Some((seen.ino(), seen.mtime(), seen.mtime_nsec(), seen.size()))
        };
        Self(paths.map(stamp).collect())
    }
}

/// Reads a certificate and its key.
///
/// # Errors
///
/// The [`LoadError`] says which file is at fault; nothing of a key is in it.
pub fn load(files: &CertificateFiles) -> Result<Certificate, LoadError> {
    let path = Path::new(&files.cert);
    let chain = chain(path)?;
    let unusable = |reason: String| unusable(path, reason);
    let (_, parsed) =
        X509Certificate::from_der(&chain[0]).map_err(|error| unusable(error.to_string()))?;
    let names = names(&parsed);
    let expires = parsed.validity().not_after.timestamp();
    let mut private = private_key(Path::new(&files.key))?;
    let key = ring::sign::any_supported_type(&private);
    private.zeroize();
    let key = CertifiedKey::new(chain, key.map_err(|error| unusable(error.to_string()))?);
    match key.keys_match() {
        Ok(()) => {}
        Err(error) => return Err(unusable(error.to_string())),
    }
    Ok(Certificate {
        names,
        expires,
        key: Arc::new(key),
    })
}

/// The authorities in a file: at least one that can be used.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, LoadError> {
    let mut roots = RootCertStore::empty();
    // A system's bundle may hold some that nobody can use.
    roots.add_parsable_certificates(chain(path)?);
    if roots.is_empty() {
        let reason = "none of its certificates is an authority's".to_owned();
        return Err(unusable(path, reason));
    }
    Ok(roots)
}

fn unusable(path: &Path, reason: String) -> LoadError {
    LoadError::Unusable {
        path: path.to_owned(),
        reason,
    }
}

/// The certificates in a file: at least one.
pub(crate) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, LoadError> {
    let missing = || LoadError::Missing {
        path: path.to_owned(),
        what: "certificate",
    };
    let (bytes, _) = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    chain
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(missing)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, LoadError> {
    let (bytes, mode) = read(path)?;
    if mode & OTHERS != 0 {
        return Err(LoadError::OpenToOthers {
            path: path.to_owned(),
            mode: mode & 0o777,
        });
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| LoadError::Missing {
        path: path.to_owned(),
        what: "private key",
    })
}

/// A file's content, overwritten when it is dropped, and its permissions.
fn read(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), LoadError> {
    let content = || {
        let file = File::open(path)?;
        let seen = file.metadata()?;
        if seen.len() > FILE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        // All at once, so that no part of a key stays in memory that was grown out of.
        let room = usize::try_from(FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok((bytes, seen.mode()))
    };
    content().map_err(|source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
