//! Walks a file or directory in a fixed order.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use model::Digest;
use sha2::{Digest as _, Sha256};

use super::tree::{Node, Tree, kept_mode, shown};
use super::{ArtifactBounds, ArtifactError};

/// An entry as found, before its content is read.
pub(super) enum Found {
    Directory { mode: u32 },
    File { mode: u32, bytes: u64, file: File },
    Link { target: Vec<u8> },
}

/// What is done with each entry; returns what it turned out to be.
pub(super) type Each<'a> = dyn FnMut(&[u8], Found) -> Result<Node, ArtifactError> + 'a;

/// Computes the digest of a file or directory as a store would.
///
/// # Errors
///
/// Any [`ArtifactError`].
pub fn digest(path: &Path, bounds: ArtifactBounds) -> Result<Digest, ArtifactError> {
    let tree = walk(path, bounds, &mut |path, found| match found {
        Found::Directory { mode } => Ok(Node::Directory { mode }),
        Found::Link { target } => Ok(Node::Link { target }),
        Found::File { mode, bytes, file } => {
            let mut file = Hashing::new(file, bytes);
            io::copy(&mut file, &mut io::sink()).map_err(ArtifactError::Stream)?;
            Ok(Node::File {
                mode,
                bytes,
                content: file.finish(path)?,
            })
        }
    })?;
    Ok(tree.digest())
}

/// Visits every entry, a directory before what is in it, names in byte order.
pub(super) fn walk(
    root: &Path,
    bounds: ArtifactBounds,
    each: &mut Each<'_>,
) -> Result<Tree, ArtifactError> {
    let mut tree = Tree::default();
    let found = fs::metadata(root).map_err(|error| ArtifactError::io("read", root, error))?;
    if found.is_dir() {
        // A stack of directories still open, so that depth costs no stack of ours.
        let mut open = vec![(Vec::new(), listed(root)?)];
        while let Some((prefix, names)) = open.last_mut() {
            let Some(name) = names.pop() else {
                open.pop();
                continue;
            };
            let path = [prefix.as_slice(), &name].concat();
            let full = root.join(std::ffi::OsStr::from_bytes(&path));
            if visit(&full, &path, (&mut tree, bounds), each)? {
                open.push(([path.as_slice(), b"/"].concat(), listed(&full)?));
            }
        }
    } else {
        let name = root
            .file_name()
            .unwrap_or(root.as_os_str())
            .as_bytes()
            .to_vec();
        let target =
            fs::canonicalize(root).map_err(|error| ArtifactError::io("read", root, error))?;
        visit(&target, &name, (&mut tree, bounds), each)?;
    }
    tree.check_links()?;
    Ok(tree)
}

/// The names in a directory, last first.
fn listed(path: &Path) -> Result<Vec<Vec<u8>>, ArtifactError> {
    let failed = |error| ArtifactError::io("list", path, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().into_vec());
    }
    names.sort_unstable_by(|left, right| right.cmp(left));
    Ok(names)
}

/// Handles one entry; true if it is a directory.
fn visit(
    full: &Path,
    path: &[u8],
    (tree, bounds): (&mut Tree, ArtifactBounds),
    each: &mut Each<'_>,
) -> Result<bool, ArtifactError> {
    let failed = |error| ArtifactError::io("read", full, error);
    let metadata = fs::symlink_metadata(full).map_err(failed)?;
    let mode = kept_mode(metadata.permissions().mode(), metadata.is_dir());
    let (found, bytes) = if metadata.is_dir() {
        (Found::Directory { mode }, 0)
    } else if metadata.is_symlink() {
        let target = fs::read_link(full)
            .map_err(failed)?
            .into_os_string()
            .into_vec();
        (Found::Link { target }, 0)
    } else if metadata.is_file() {
        // Not even a link or a pipe that took its place since then is opened.
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).expect("flags of open are ints");
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(full);
        let file = file.map_err(failed)?;
        if file.metadata().map_err(failed)?.ino() != metadata.ino() {
            return Err(ArtifactError::Changed { path: shown(path) });
        }
        (
            Found::File {
                mode,
                bytes: metadata.len(),
                file,
            },
            metadata.len(),
        )
    } else {
        return Err(ArtifactError::Special { path: shown(path) });
    };
    tree.admit(path, bytes, bounds)?;
    let node = each(path, found)?;
    tree.insert(path.to_vec(), node);
    Ok(metadata.is_dir())
}

/// Reads exactly the bytes promised and digests them on the way.
pub(super) struct Hashing<R> {
    source: io::Take<R>,
    promised: u64,
    seen: u64,
    hasher: Sha256,
}

impl<R: Read> Hashing<R> {
    pub(super) fn new(source: R, promised: u64) -> Self {
        Self {
            source: source.take(promised),
            promised,
            seen: 0,
            hasher: Sha256::new(),
        }
    }

    /// The digest, if all was there.
    pub(super) fn finish(self, path: &[u8]) -> Result<[u8; 32], ArtifactError> {
        if self.seen != self.promised {
            return Err(ArtifactError::Changed { path: shown(path) });
        }
        Ok(self.hasher.finalize().into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.seen += count as u64;
        Ok(count)
    }
}
