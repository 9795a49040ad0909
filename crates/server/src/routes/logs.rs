//! What instances and jobs printed, and print.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use control::Handle;
use control::api::{ApiError, LogLine};
use runtime::logs::{LogLine as Line, Logs};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::lines::{Asked, LineQuery, ago};
use super::looks::Pairs;
use crate::body::pieces;
use crate::failure::Refused;

type Sender = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

impl Asked {
    fn has(&self, line: &Line) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let since = self.since.as_ref();
        (self.services.is_empty() || self.services.contains(&line.service))
            && is(&self.release, &line.release)
            && is(&self.instance, &line.instance)
            && since.is_none_or(|since| *since <= line.time)
    }
}

/// The newest lines, oldest first, and with `follow` those that come: one JSON object a line.
#[utoipa::path(get, path = "/v1/logs",
    params(LineQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", body = LogLine),
        (status = 400, body = ApiError),
    ))]
pub(crate) async fn logs(State(control): State<Handle>, pairs: Pairs) -> Result<Response, Refused> {
    let wanted = Asked::read(&pairs)?;
    let mut services = wanted.services.clone();
    if services.is_empty() {
        let known = control.services().await?;
        services = known.iter().map(ToString::to_string).collect();
    }
    let live = control.logs().follow();
    let (sender, body) = pieces();
    let logs = control.logs().clone();
    tokio::spawn(async move {
        let reading = wanted.clone();
        let past = tokio::task::spawn_blocking(move || past(&logs, &services, &reading));
        let past = past.await.unwrap_or_default();
        for line in &past {
            if put(&sender, line).await.is_err() {
                return;
            }
        }
        if wanted.follow {
            follow(live, (&past, &wanted), &sender).await;
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::new(body)).into_response())
}

/// The newest wanted lines on disk, oldest first. Blocks.
fn past(logs: &Logs, services: &[String], wanted: &Asked) -> Vec<Arc<Line>> {
    logs.flush();
    let mut all = Vec::new();
    for service in services {
        let mut newest = VecDeque::new();
        for line in logs.history(service).filter(|line| wanted.has(line)) {
            newest.push_back(Arc::new(line));
            if newest.len() > wanted.lines {
                newest.pop_front();
            }
        }
        all.extend(newest);
    }
    all.sort_by(|one, other| one.time.cmp(&other.time));
    let surplus = all.len().saturating_sub(wanted.lines);
    all.split_off(surplus)
}

async fn follow(
    mut live: broadcast::Receiver<Arc<Line>>,
    (past, wanted): (&[Arc<Line>], &Asked),
    sender: &Sender,
) {
    // What was printed while the past was read comes twice.
    let last = past.last().map(|line| line.time.clone());
    let is_past = |line: &Arc<Line>| {
        last.as_ref().is_some_and(|last| line.time <= *last) && past.contains(line)
    };
    loop {
        let line = match live.recv().await {
            Ok(line) if wanted.has(&line) && !is_past(&line) => line,
            Ok(_) => continue,
            Err(RecvError::Lagged(count)) => Arc::new(missed(count)),
            Err(RecvError::Closed) => return,
        };
        if put(sender, &line).await.is_err() {
            return;
        }
    }
}

/// Stands for lines that a slow listener missed.
fn missed(count: u64) -> Line {
    Line {
        time: ago(0),
        service: String::new(),
        release: String::new(),
        instance: String::new(),
        stream: runtime::logs::Stream::Stdout,
        text: format!("{count} lines were missed"),
        escaped: false,
        partial: false,
        dropped_bytes: 0,
        dropped: count,
    }
}

async fn put(sender: &Sender, line: &Line) -> Result<(), ()> {
    let mut text = serde_json::to_vec(&LogLine::from(line)).map_err(|_| ())?;
    text.push(b'\n');
    sender.send(Ok(Bytes::from(text))).await.map_err(|_| ())
}
