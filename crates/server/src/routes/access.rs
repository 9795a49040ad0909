//! What was asked of the services: the proxy's access log.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use control::Handle;
use control::api::ApiError;

use super::lines::{Asked, LineQuery};
use super::looks::Pairs;
use crate::body::pieces;
use crate::failure::Refused;

/// How often it is looked for new lines.
const EVERY: Duration = Duration::from_millis(200);
/// How a line begins; the time follows.
const BEGINNING: &[u8] = b"{\"time\":\"";

/// Which lines are wanted, as bytes of theirs: values are escaped, so that what is looked for
/// cannot stand in one.
#[derive(Debug, Clone, Default)]
struct Wanted {
    services: Vec<Vec<u8>>,
    others: Vec<Vec<u8>>,
    since: Option<String>,
}

impl Wanted {
    fn new(asked: &Asked) -> Self {
        let field = |name: &str, value: &str| format!("\"{name}\":\"{value}\"").into_bytes();
        let services = asked.services.iter();
        let release = asked.release.iter().map(|value| field("release", value));
        let instance = asked.instance.iter().map(|value| field("instance", value));
        Self {
            services: services.map(|name| field("service", name)).collect(),
            others: release.chain(instance).collect(),
            since: asked.since.clone(),
        }
    }

    fn has(&self, line: &[u8]) -> bool {
        let holds = |field: &Vec<u8>| line.windows(field.len()).any(|part| part == field);
        let is_late = |since: &String| {
            let time = line.strip_prefix(BEGINNING).unwrap_or_default();
            time >= since.as_bytes()
        };
        self.since.as_ref().is_none_or(is_late)
            && (self.services.is_empty() || self.services.iter().any(holds))
            && self.others.iter().all(holds)
    }
}

/// The access log's files, and how far each was read.
#[derive(Debug)]
struct Reader {
    directory: PathBuf,
    offsets: BTreeMap<PathBuf, u64>,
}

impl Reader {
    /// Gives every whole line that has come since the last time to `take`.
    fn read(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let files = match fs::read_dir(&self.directory) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut paths: Vec<PathBuf> = Vec::new();
        for file in files {
            paths.push(file?.path());
        }
        paths.sort();
        self.offsets.retain(|path, _| paths.contains(path));
        for path in paths {
            let offset = self.offsets.entry(path.clone()).or_default();
            // One that was removed meanwhile was too old.
            if let Ok(file) = File::open(&path) {
                *offset = read_lines(file, *offset, &mut take)?;
            }
        }
        Ok(())
    }
}

/// Reads whole lines from `offset` on. Returns where the first one begins that is not whole.
fn read_lines(mut file: File, offset: u64, take: &mut impl FnMut(&[u8])) -> io::Result<u64> {
    let mut offset = offset;
    file.seek(SeekFrom::Start(offset))?;
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let count = reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(offset);
        }
        offset += count as u64;
        take(&line);
    }
}

/// The newest lines of the access log, oldest first, and with `follow` those that come: one
/// JSON object a line.
#[utoipa::path(get, path = "/v1/access",
    params(LineQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = Object),
        (status = 400, body = ApiError),
    ))]
pub(crate) async fn access(
    State(control): State<Handle>,
    pairs: Pairs,
) -> Result<Response, Refused> {
    let asked = Asked::read(&pairs)?;
    let wanted = Wanted::new(&asked);
    let reader = Reader {
        directory: control.access_log().to_owned(),
        offsets: BTreeMap::new(),
    };
    let (sender, body) = pieces::<std::convert::Infallible>();
    tokio::spawn(async move {
        let mut reader = reader;
        let mut most = asked.lines;
        loop {
            let wished = wanted.clone();
            let read = tokio::task::spawn_blocking(move || newest(reader, &wished, most));
            let Ok((after, lines)) = read.await else {
                return;
            };
            reader = after;
            most = usize::MAX;
            for line in lines {
                if sender.send(Ok(line)).await.is_err() {
                    return;
                }
            }
            if !asked.follow || sender.is_closed() {
                return;
            }
            tokio::time::sleep(EVERY).await;
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::new(body)).into_response())
}

/// The newest wanted lines that were not read before, by their time. Blocks.
fn newest(mut reader: Reader, wanted: &Wanted, most: usize) -> (Reader, Vec<Bytes>) {
    let mut lines: VecDeque<Bytes> = VecDeque::new();
    let read = reader.read(|line| {
        if wanted.has(line) {
            lines.push_back(Bytes::copy_from_slice(line));
            if lines.len() > most {
                lines.pop_front();
            }
        }
    });
    if let Err(error) = read {
        tracing::warn!(%error, "the access log cannot be read");
    }
    // Several threads write, and for a while two workers.
    let mut lines = Vec::from(lines);
    lines.sort();
    (reader, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: &str, service: &str) -> String {
        format!(
            "{{\"time\":\"{time}\",\"path\":\"/\\\"service\\\":\\\"api\\\"\",\"service\":\"{service}\"}}\n"
        )
    }

    #[test]
    fn the_newest_wanted_lines_come_in_order_and_later_ones_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let old = [line("1", "web"), line("2", "api"), line("5", "web")].concat();
        fs::write(path("access-1-1.jsonl"), old).unwrap();
        let new = [line("4", "web"), line("6", "web")].concat() + "{\"time\":\"7";
        fs::write(path("access-2-1.jsonl"), &new).unwrap();
        let wanted = Wanted {
            services: vec![b"\"service\":\"web\"".to_vec()],
            since: Some("2".to_owned()),
            ..Wanted::default()
        };
        let reader = Reader {
            directory: directory.path().to_owned(),
            offsets: BTreeMap::new(),
        };
        let (reader, lines) = newest(reader, &wanted, 2);
        assert_eq!(lines, [line("4", "web"), line("6", "web")]);
        let whole = new + "\",\"service\":\"web\"}\n";
        fs::write(path("access-2-1.jsonl"), whole).unwrap();
        let (_, lines) = newest(reader, &wanted, usize::MAX);
        assert_eq!(lines, ["{\"time\":\"7\",\"service\":\"web\"}\n"]);
    }

    #[test]
    fn no_log_is_no_lines() {
        let reader = Reader {
            directory: PathBuf::from("/nowhere/at/all"),
            offsets: BTreeMap::new(),
        };
        assert!(newest(reader, &Wanted::default(), 9).1.is_empty());
    }
}
