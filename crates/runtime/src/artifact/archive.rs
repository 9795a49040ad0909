//! The stream: written by [`pack`], read strictly.

use std::io::{self, Read, Write};
use std::path::Path;

use model::Digest;
use tar::{Archive, Builder, EntryType, Header};

use super::scan::{self, Found, Hashing};
use super::tree::{Node, Tree, kept_mode, shown};
use super::{ArtifactBounds, ArtifactError};

/// A path in the header itself is at most this long; longer ones go before it.
const HEADER_PATH_BYTES: usize = 100;

/// The longest extension: two paths and their keys.
const EXTENSION_BYTES_MAX: u64 = 10_000;

/// The key of the last record: the digest of all before.
const DIGEST_KEY: &str = "GAPLESS.digest";

/// Writes a file or directory to `writer` and returns its digest.
///
/// # Errors
///
/// Any [`ArtifactError`]; the stream is then incomplete and will be refused.
pub fn pack(
    path: &Path,
    writer: impl Write,
    bounds: ArtifactBounds,
) -> Result<Digest, ArtifactError> {
    let mut builder = Builder::new(writer);
    let tree = scan::walk(path, bounds, &mut |path, found| {
        append(&mut builder, path, found)
    })?;
    let digest = tree.digest();
    let record = extension(DIGEST_KEY.as_bytes(), digest.as_str().as_bytes());
    let mut header = header(EntryType::XGlobalHeader, 0, record.len() as u64);
    header.set_cksum();
    builder
        .append(&header, record.as_slice())
        .map_err(ArtifactError::Stream)?;
    let mut writer = builder.into_inner().map_err(ArtifactError::Stream)?;
    writer.flush().map_err(ArtifactError::Stream)?;
    Ok(digest)
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    path: &[u8],
    found: Found,
) -> Result<Node, ArtifactError> {
    match found {
        Found::Directory { mode } => {
            let header = header(EntryType::Directory, mode, 0);
            put(builder, header, (path, None), &mut io::empty())?;
            Ok(Node::Directory { mode })
        }
        Found::Link { target } => {
            let header = header(EntryType::Symlink, 0o777, 0);
            put(builder, header, (path, Some(&target)), &mut io::empty())?;
            Ok(Node::Link { target })
        }
        Found::File { mode, bytes, file } => {
            let mut file = Hashing::new(file, bytes);
            // A short file would shift all that follows.
            let mut whole = (&mut file).chain(io::repeat(0)).take(bytes);
            let header = header(EntryType::Regular, mode, bytes);
            put(builder, header, (path, None), &mut whole)?;
            Ok(Node::File {
                mode,
                bytes,
                content: file.finish(path)?,
            })
        }
    }
}

fn put<W: Write>(
    builder: &mut Builder<W>,
    mut header: Header,
    (path, target): (&[u8], Option<&[u8]>),
    content: &mut dyn Read,
) -> Result<(), ArtifactError> {
    let mut before = Vec::new();
    let fields = header.as_ustar_mut().expect("the header was made as ustar");
    if !fit(&mut fields.name, path) {
        before.extend(extension(b"path", path));
    }
    if let Some(target) = target
        && !fit(&mut fields.linkname, target)
    {
        before.extend(extension(b"linkpath", target));
    }
    if !before.is_empty() {
        let mut extended = self::header(EntryType::XHeader, 0, before.len() as u64);
        extended.set_cksum();
        builder
            .append(&extended, before.as_slice())
            .map_err(ArtifactError::Stream)?;
    }
    header.set_cksum();
    builder
        .append(&header, content)
        .map_err(ArtifactError::Stream)
}

fn header(kind: EntryType, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_mtime(0);
    header
}

fn fit(field: &mut [u8; HEADER_PATH_BYTES], text: &[u8]) -> bool {
    let fits = text.len() < field.len();
    if fits {
        field[..text.len()].copy_from_slice(text);
    }
    fits
}

/// One record of an extension: its own length in decimal, key and value.
fn extension(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Receives the entries of a stream; each is already checked.
pub(super) trait Sink {
    fn directory(&mut self, path: &[u8]) -> Result<(), ArtifactError>;
    fn file(&mut self, path: &[u8], content: &mut dyn Read) -> Result<(), ArtifactError>;
    fn link(&mut self, path: &[u8], target: &[u8]) -> Result<(), ArtifactError>;
}

/// Reads a stream to its end and checks its digest.
pub(super) fn read(
    reader: impl Read,
    bounds: ArtifactBounds,
    sink: &mut dyn Sink,
) -> Result<Tree, ArtifactError> {
    let mut archive = Archive::new(reader);
    let mut tree = Tree::default();
    let mut extended = Extended::default();
    for entry in archive.entries().map_err(ArtifactError::Stream)?.raw(true) {
        let mut entry = entry.map_err(ArtifactError::Stream)?;
        match entry.header().entry_type() {
            EntryType::XHeader => extended = Extended::read(&mut entry)?,
            EntryType::XGlobalHeader => {
                tree.check_links()?;
                let told = Extended::read(&mut entry)?.digest;
                let own = tree.digest().as_str().as_bytes().to_vec();
                return if told == Some(own) {
                    Ok(tree)
                } else {
                    Err(ArtifactError::Damaged)
                };
            }
            kind => {
                let names = std::mem::take(&mut extended);
                one(&mut entry, kind, names, (&mut tree, bounds, &mut *sink))?;
            }
        }
    }
    Err(ArtifactError::Damaged)
}

/// Handles one file, directory or link.
fn one(
    entry: &mut tar::Entry<'_, impl Read>,
    kind: EntryType,
    names: Extended,
    (tree, bounds, sink): (&mut Tree, ArtifactBounds, &mut dyn Sink),
) -> Result<(), ArtifactError> {
    let path = names
        .path
        .unwrap_or_else(|| entry.path_bytes().into_owned());
    let mode = entry.header().mode().map_err(ArtifactError::Stream)?;
    let bytes = entry.size();
    tree.admit(&path, bytes, bounds)?;
    let node = match kind {
        EntryType::Directory => {
            sink.directory(&path)?;
            Node::Directory {
                mode: kept_mode(mode, true),
            }
        }
        EntryType::Regular => {
            let mut content = Hashing::new(entry, bytes);
            sink.file(&path, &mut content)?;
            let content = content.finish(&path).map_err(|_| ArtifactError::Damaged)?;
            Node::File {
                mode: kept_mode(mode, false),
                bytes,
                content,
            }
        }
        EntryType::Symlink => {
            let target = names
                .target
                .or_else(|| Some(entry.link_name_bytes()?.into_owned()));
            let target = target.filter(|target| !target.is_empty() && !target.contains(&0));
            let target = target.ok_or(ArtifactError::Damaged)?;
            sink.link(&path, &target)?;
            Node::Link { target }
        }
        _ => return Err(ArtifactError::Special { path: shown(&path) }),
    };
    tree.insert(path, node);
    Ok(())
}

/// What an extension says about the entry after it, or about the whole.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    digest: Option<Vec<u8>>,
}

impl Extended {
    fn read(entry: &mut tar::Entry<'_, impl Read>) -> Result<Self, ArtifactError> {
        if entry.size() > EXTENSION_BYTES_MAX {
            return Err(ArtifactError::Damaged);
        }
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .map_err(ArtifactError::Stream)?;
        let mut found = Self::default();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or(ArtifactError::Damaged)?;
            match key {
                b"path" => found.path = Some(value.to_vec()),
                b"linkpath" => found.target = Some(value.to_vec()),
                key if key == DIGEST_KEY.as_bytes() => found.digest = Some(value.to_vec()),
                _ => return Err(ArtifactError::Damaged),
            }
            rest = after;
        }
        Ok(found)
    }
}

/// Key and value of the first record, and what comes after it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let (whole, after) = bytes.split_at_checked(length)?;
    let text = whole.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    Some((&text[..equals], &text[equals + 1..], after))
}
