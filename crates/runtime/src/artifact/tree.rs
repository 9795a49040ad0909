//! What an artefact is, apart from its bytes: paths, kinds, modes, digests.

use std::collections::BTreeMap;

use model::Digest;
use sha2::{Digest as _, Sha256};

use super::{ArtifactBounds, ArtifactError};

const PATH_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 255;

/// As the kernel: a path that passes more links is a loop.
const LINKS_MAX: usize = 40;

/// Permissions that are kept; nobody may write to a stored artefact.
const MODE_KEPT: u32 = 0o555;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory {
        mode: u32,
    },
    File {
        mode: u32,
        bytes: u64,
        content: [u8; 32],
    },
    Link {
        target: Vec<u8>,
    },
}

/// All entries by path, relative, with `/` between names.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<Vec<u8>, Node>,
    bytes: u64,
}

/// The mode that an entry is stored with: its owner can always read it.
pub(super) fn kept_mode(mode: u32, directory: bool) -> u32 {
    (mode & MODE_KEPT) | if directory { 0o500 } else { 0o400 }
}

/// A path for messages.
pub(super) fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Tree {
    pub(super) fn nodes(&self) -> &BTreeMap<Vec<u8>, Node> {
        &self.nodes
    }

    /// Makes sure that an entry at `path` with `bytes` more may be added.
    pub(super) fn admit(
        &mut self,
        path: &[u8],
        bytes: u64,
        bounds: ArtifactBounds,
    ) -> Result<(), ArtifactError> {
        check_path(path)?;
        let refused = |why| ArtifactError::Path {
            path: shown(path),
            why,
        };
        if let Some(slash) = path.iter().rposition(|byte| *byte == b'/')
            && !matches!(self.nodes.get(&path[..slash]), Some(Node::Directory { .. }))
        {
            return Err(refused("its parent is not a directory of the artefact"));
        }
        if self.nodes.contains_key(path) {
            return Err(refused("it occurs twice"));
        }
        if self.nodes.len() as u64 >= bounds.entries_max {
            return Err(ArtifactError::TooManyEntries {
                max: bounds.entries_max,
            });
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > bounds.bytes_max {
            return Err(ArtifactError::TooLarge {
                max: bounds.bytes_max,
            });
        }
        Ok(())
    }

    /// Adds an entry that was admitted.
    pub(super) fn insert(&mut self, path: Vec<u8>, node: Node) {
        self.nodes.insert(path, node);
    }

    /// Checks that no link leads outside, whichever other links it passes.
    pub(super) fn check_links(&self) -> Result<(), ArtifactError> {
        for (path, node) in &self.nodes {
            if let Node::Link { target } = node
                && !self.stays_inside(path, target)
            {
                return Err(ArtifactError::LinkOutside {
                    path: shown(path),
                    target: shown(target),
                });
            }
        }
        Ok(())
    }

    /// Walks a link's target name by name, as the kernel would.
    fn stays_inside(&self, link: &[u8], target: &[u8]) -> bool {
        let mut here: Vec<Vec<u8>> = names(link).map(<[u8]>::to_vec).collect();
        here.pop();
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        let mut next = target.to_vec();
        for _ in 0..LINKS_MAX {
            if next.starts_with(b"/") {
                return false;
            }
            ahead.extend(names(&next).rev().map(<[u8]>::to_vec));
            match self.until_link(&mut here, &mut ahead) {
                Walk::Arrived => return true,
                Walk::Outside => return false,
                Walk::Link(target) => next = target,
            }
        }
        false
    }

    fn until_link(&self, here: &mut Vec<Vec<u8>>, ahead: &mut Vec<Vec<u8>>) -> Walk {
        while let Some(name) = ahead.pop() {
            if name == b".." {
                if here.pop().is_none() {
                    return Walk::Outside;
                }
                continue;
            }
            here.push(name);
            if let Some(Node::Link { target }) = self.nodes.get(&here.join(&b'/')) {
                here.pop();
                return Walk::Link(target.clone());
            }
        }
        Walk::Arrived
    }

    /// The digest over every path, kind, mode and content, in order of paths.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        for (path, node) in &self.nodes {
            field(path);
            match node {
                Node::Directory { mode } => field(&[b"d".as_slice(), &mode.to_le_bytes()].concat()),
                Node::File {
                    mode,
                    bytes,
                    content,
                } => {
                    field(&[b"f".as_slice(), &mode.to_le_bytes(), &bytes.to_le_bytes()].concat());
                    field(content);
                }
                Node::Link { target } => field(&[b"l".as_slice(), target].concat()),
            }
        }
        printed(&hasher.finalize().into())
    }
}

/// How far a walk along a link's target came.
enum Walk {
    Arrived,
    Outside,
    Link(Vec<u8>),
}

/// A digest in hexadecimal.
pub(super) fn printed(bytes: &[u8; 32]) -> Digest {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Digest::try_new(&hex).expect("32 bytes print as 64 hexadecimal digits")
}

/// The names of a path; `.` and empty ones stand for nothing.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
        .filter(|name| !name.is_empty() && *name != b".")
}

fn check_path(path: &[u8]) -> Result<(), ArtifactError> {
    let refused = |why| {
        Err(ArtifactError::Path {
            path: shown(path),
            why,
        })
    };
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return refused("its length");
    }
    if path.contains(&0) {
        return refused("it has a zero byte");
    }
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" => return refused("it is absolute or has an empty name"),
            b"." | b".." => return refused("it has `.` or `..`"),
            name if name.len() > NAME_BYTES_MAX => return refused("a name is too long"),
            _ => {}
        }
    }
    Ok(())
}
