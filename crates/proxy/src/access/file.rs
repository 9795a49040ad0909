//! The files of the access log: the newest is written to, the oldest are removed.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use model::AccessLog;

use super::AccessPlace;

/// The files of one worker, among those of others.
#[derive(Debug)]
pub(super) struct Files {
    place: AccessPlace,
    current: Option<(File, u64)>,
    /// The number of the next one.
    number: u32,
}

impl Files {
    pub(super) fn new(place: AccessPlace) -> Self {
        Self {
            place,
            current: None,
            number: 1,
        }
    }

    /// Appends whole lines. A file that is large enough is followed by the next.
    pub(super) fn write(&mut self, text: &[u8], bounds: AccessLog) -> io::Result<()> {
        let is_full = |(_, bytes): &(File, u64)| *bytes >= bounds.file_bytes_max;
        let (mut file, bytes) = match self.current.take() {
            Some(current) if !is_full(&current) => current,
            Some(_) | None => (self.open(bounds)?, 0),
        };
        file.write_all(text)?;
        self.current = Some((file, bytes + text.len() as u64));
        Ok(())
    }

    fn open(&mut self, bounds: AccessLog) -> io::Result<File> {
        let directory = &self.place.directory;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let name = format!(
            "access-{:010}-{:06}.jsonl",
            self.place.generation, self.number
        );
        self.number += 1;
        let mut options = OpenOptions::new();
        let file = options
            .append(true)
            .create(true)
            .mode(0o600)
            .open(directory.join(name))?;
        self.remove_old(bounds)?;
        Ok(file)
    }

    /// Names sort by age, over all workers.
    fn remove_old(&self, bounds: AccessLog) -> io::Result<()> {
        let mut files: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&self.place.directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with("access-") && name.ends_with(".jsonl")) {
                files.push(path);
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(bounds.files_max as usize);
        for file in &files[..surplus] {
            match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                // Another worker was faster.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }
}
