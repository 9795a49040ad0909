//! The store: one read-only directory for each digest.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::Digest;

use super::archive::{self, Sink};
use super::tree::{Node, Tree};
use super::{ArtifactBounds, ArtifactError};

/// Begins the names of directories that are not finished, or no longer wanted.
const UNFINISHED: &str = ".unfinished-";

/// Artefacts by digest, in one directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    bounds: ArtifactBounds,
    made: AtomicU64,
}

impl Store {
    /// Opens the store in `root`, made when missing, and clears what a crash left unfinished.
    ///
    /// Only one process may have it open.
    ///
    /// # Errors
    ///
    /// If the directory cannot be made or listed.
    pub fn open(root: PathBuf, bounds: ArtifactBounds) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_bytes()
                .starts_with(UNFINISHED.as_bytes())
            {
                remove_tree(&entry.path())?;
            }
        }
        Ok(Self {
            root,
            bounds,
            made: AtomicU64::new(0),
        })
    }

    /// The directory of an artefact, whether it is there or not.
    ///
    /// A single file is in it under its own name.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(digest.as_str())
    }

    /// Whether an artefact is stored.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_dir()
    }

    /// All stored artefacts.
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed.
    pub fn list(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            found.extend(
                entry?
                    .file_name()
                    .to_str()
                    .and_then(|name| Digest::try_new(name).ok()),
            );
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Stores what a stream made by [`super::pack`] holds, and returns its digest.
    ///
    /// Nothing is stored unless all of it is valid and on disk. Blocks.
    ///
    /// # Errors
    ///
    /// Any [`ArtifactError`].
    pub fn unpack(&self, reader: impl Read) -> Result<Digest, ArtifactError> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let root = self.root.join(format!("{UNFINISHED}{number}"));
        make_directory(&root)?;
        let mut unfinished = Unfinished { root };
        let tree = archive::read(reader, self.bounds, &mut unfinished)?;
        let digest = tree.digest();
        unfinished.protect(&tree)?;
        let target = self.path(&digest);
        if !target.exists() {
            unfinished.publish(&target, &self.root)?;
        }
        Ok(digest)
    }

    /// Removes an artefact; one that is not there is no error.
    ///
    /// # Errors
    ///
    /// If it cannot be removed whole; what is left is not taken for an artefact.
    pub fn remove(&self, digest: &Digest) -> io::Result<()> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let gone = self.root.join(format!("{UNFINISHED}{number}"));
        match fs::rename(self.path(digest), &gone) {
            Ok(()) => remove_tree(&gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// A directory being filled; removed again unless published.
struct Unfinished {
    root: PathBuf,
}

impl Unfinished {
    fn at(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    /// Takes away every right to write, from the leaves up.
    fn protect(&self, tree: &Tree) -> Result<(), ArtifactError> {
        for (path, node) in tree.nodes().iter().rev() {
            let (Node::Directory { mode } | Node::File { mode, .. }) = node else {
                continue;
            };
            let at = self.at(path);
            fs::set_permissions(&at, Permissions::from_mode(*mode))
                .map_err(|error| ArtifactError::io("protect", &at, error))?;
        }
        let root = Permissions::from_mode(0o555);
        fs::set_permissions(&self.root, root)
            .map_err(|error| ArtifactError::io("protect", &self.root, error))
    }

    /// Puts all of it on disk, then under its name.
    fn publish(&self, target: &Path, parent: &Path) -> Result<(), ArtifactError> {
        let failed = |error| ArtifactError::io("store", target, error);
        let directory = File::open(parent).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))?;
        fs::rename(&self.root, target).map_err(failed)?;
        directory.sync_all().map_err(failed)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Cleared at the next start if not now.
        let _left = remove_tree(&self.root);
    }
}

impl Sink for Unfinished {
    fn directory(&mut self, path: &[u8]) -> Result<(), ArtifactError> {
        make_directory(&self.at(path))
    }

    fn file(&mut self, path: &[u8], content: &mut dyn Read) -> Result<(), ArtifactError> {
        let at = self.at(path);
        let failed = |error| ArtifactError::io("write", &at, error);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&at)
            .map_err(failed)?;
        io::copy(content, &mut file).map(drop).map_err(failed)
    }

    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArtifactError> {
        let at = self.at(path);
        std::os::unix::fs::symlink(OsStr::from_bytes(target), &at)
            .map_err(|error| ArtifactError::io("make", &at, error))
    }
}

fn make_directory(path: &Path) -> Result<(), ArtifactError> {
    let made = DirBuilder::new().mode(0o700).create(path);
    made.map_err(|error| ArtifactError::io("make", path, error))
}

/// Removes a tree whose directories may be read-only; an absent one is no error.
fn remove_tree(path: &Path) -> io::Result<()> {
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        if !directory.is_dir() {
            continue;
        }
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
