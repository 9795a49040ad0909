//! Server-sent events: what happened, and the state whenever it changes.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use control::api::{ApiError, Note, StatusAnswer};
use control::{EventRow, Handle};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use super::looks::Pairs;
use crate::body::pieces;
use crate::failure::{Refused, parsed};

/// The state is sent at most so often.
const STATUS_PAUSE: Duration = Duration::from_millis(100);

/// A line that says nothing is sent so often, so that a dead listener is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events read from the database at once.
const BATCH: u32 = 500;

type Sender = mpsc::Sender<Result<Bytes, std::convert::Infallible>>;

/// Notes (`note`) and receipts (`receipt`) as they happen, each with its number as id, and the
/// state (`status`) at the begin and whenever it changes.
///
/// Whoever comes back with `Last-Event-ID` misses none that is still kept.
#[utoipa::path(get, path = "/v1/events",
    params(
        ("last-event-id" = Option<i64>, Header, description = "Send what came after this event first"),
        ("after" = Option<i64>, Query, description = "The same, for those who cannot set headers"),
    ),
    responses(
        (status = 200, content_type = "text/event-stream",
            content((StatusAnswer = "text/event-stream"), (Note = "text/event-stream"))),
        (status = 400, body = ApiError),
    ))]
pub(crate) async fn events(
    State(control): State<Handle>,
    headers: HeaderMap,
    pairs: Pairs,
) -> Result<Response, Refused> {
    let header = headers.get("last-event-id");
    let header = header.and_then(|value| value.to_str().ok());
    let query = pairs.iter().find(|(key, _)| key == "after");
    let after = match header.or(query.map(|(_, after)| after.as_str())) {
        Some(text) => parsed(text, "number of an event")?,
        None => control.newest_event().await?,
    };
    let (sender, body) = pieces();
    tokio::spawn(async move {
        // It ends when the listener is gone, or control is.
        let _ended = send_all(&control, after, &sender).await;
    });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(body)).into_response())
}

/// Nobody listens any more, or there is nothing more to tell.
struct Over;

async fn send_all(control: &Handle, mut after: i64, sender: &Sender) -> Result<(), Over> {
    let mut news = control.news();
    let mut changed = control.changed();
    catch_up(control, &mut after, sender).await?;
    loop {
        send_status(control, sender).await?;
        let pause = tokio::time::sleep(STATUS_PAUSE);
        tokio::pin!(pause);
        let mut rested = false;
        loop {
            tokio::select! {
                event = news.recv() => take(control, event, (&mut after, sender)).await?,
                () = &mut pause, if !rested => rested = true,
                change = changed.changed(), if rested => match change {
                    Ok(()) => break,
                    Err(_) => return Err(Over),
                },
                () = tokio::time::sleep(KEEP_ALIVE) => {
                    put(sender, ":\n\n".to_owned()).await?;
                }
            }
        }
    }
}

async fn take(
    control: &Handle,
    event: Result<EventRow, RecvError>,
    (after, sender): (&mut i64, &Sender),
) -> Result<(), Over> {
    match event {
        Ok(event) => send(event, after, sender).await,
        Err(broadcast::error::RecvError::Lagged(_)) => catch_up(control, after, sender).await,
        Err(broadcast::error::RecvError::Closed) => Err(Over),
    }
}

/// Sends what is in the database and was not sent.
async fn catch_up(control: &Handle, after: &mut i64, sender: &Sender) -> Result<(), Over> {
    loop {
        let events = control
            .events_after(*after, BATCH)
            .await
            .map_err(|_| Over)?;
        if events.is_empty() {
            return Ok(());
        }
        for event in events {
            send(event, after, sender).await?;
        }
    }
}

async fn send(event: EventRow, after: &mut i64, sender: &Sender) -> Result<(), Over> {
    // One that could not be written has no number, and is told once.
    let known = event.seq != 0 && event.seq <= *after;
    if known || event.kind == "evidence" {
        return Ok(());
    }
    *after = (*after).max(event.seq);
    let id = match event.seq {
        0 => String::new(),
        seq => format!("id: {seq}\n"),
    };
    let kind = event.kind.clone();
    let data = if kind == "receipt" {
        event.text
    } else {
        serde_json::to_string(&control::note(event)).map_err(|_| Over)?
    };
    put(sender, format!("{id}event: {kind}\ndata: {data}\n\n")).await
}

async fn send_status(control: &Handle, sender: &Sender) -> Result<(), Over> {
    let status = control.status().await.map_err(|_| Over)?;
    let data = serde_json::to_string(&status).map_err(|_| Over)?;
    put(sender, format!("event: status\ndata: {data}\n\n")).await
}

async fn put(sender: &Sender, text: String) -> Result<(), Over> {
    sender.send(Ok(Bytes::from(text))).await.map_err(|_| Over)
}
