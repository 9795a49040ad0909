//! Reads back what is on disk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::line::LogLine;
use super::write::file_name;

/// More files than this are never kept.
const FILES_MAX: u32 = 1000;

/// The lines of one service, oldest first.
///
/// All files are opened at the start, so that lines may be lost at the old
/// end while reading, but never in between. Torn lines are skipped.
#[derive(Debug)]
pub struct History {
    files: Vec<BufReader<File>>,
}

impl History {
    pub(super) fn open(directory: &Path, service: &str) -> Self {
        let directory = directory.join(service);
        let is_one_name = Path::new(service).components().count() == 1 && !service.contains("..");
        let mut files = Vec::new();
        if is_one_name && fs::metadata(&directory).is_ok() {
            // The youngest first: one that is renamed meanwhile is seen twice rather than never.
            let opened =
                (0..FILES_MAX).map_while(|age| File::open(directory.join(file_name(age))).ok());
            files = opened.map(BufReader::new).collect();
        }
        Self { files }
    }
}

impl Iterator for History {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        let mut bytes = Vec::new();
        while let Some(file) = self.files.last_mut() {
            bytes.clear();
            match file.read_until(b'\n', &mut bytes) {
                Ok(1..) => {
                    if let Ok(line) = serde_json::from_slice(&bytes) {
                        return Some(line);
                    }
                }
                Ok(0) | Err(_) => {
                    self.files.pop();
                }
            }
        }
        None
    }
}
