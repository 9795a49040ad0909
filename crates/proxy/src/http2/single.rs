//! One request on a connection of its own, as copies are asked: its answer reaches nobody.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use h2::client::Builder;
use http::Response;
use http1::{Framing, Method};
use tokio::io::{AsyncRead, ReadBuf};
use traffic::Outcome;

use super::head::{self, Ended};
use super::inbound::{Inbound, Source, broken};
use super::outbound::Outbound;
use super::{CONNECTION_WINDOW, HEAD_BYTES_MAX, STREAM_WINDOW};
use crate::wire::Wire;

/// Where a head of HTTP/1.1 ends.
const END: &[u8] = b"\r\n\r\n";

/// An answer over HTTP/2, as bytes of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Answering(Inbound);

/// Sends a request of HTTP/1.1, head and body, and has its answer read by `read`.
///
/// # Errors
///
/// What became of it instead of an answer.
pub(crate) async fn single<R>(
    wire: Wire,
    (bytes, method): (&[u8], Method),
    read: impl AsyncFnOnce(&mut Answering) -> Result<R, Outcome>,
) -> Result<R, Outcome> {
    let scheme = match wire.trust() {
        Some(_) => "https",
        None => "http",
    };
    let end = bytes.windows(END.len()).position(|part| part == END);
    let (head, body) = bytes.split_at(end.ok_or(Outcome::NoResponse)? + END.len());
    let asked = head::read_request(head, scheme).ok_or(Outcome::NoResponse)?;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let (send, connection) = builder.handshake(wire).await.map_err(failed)?;
    let talking = async {
        let mut send = send.ready().await.map_err(failed)?;
        let is_over = asked.framing.is_empty();
        let sent = send.send_request(asked.request, is_over);
        let (response, up) = sent.map_err(failed)?;
        let writing = async {
            // Who answers early may not read it all: the answer says what became of it.
            if !is_over {
                let _ = write(up, asked.framing, body).await;
            }
            std::future::pending::<()>().await;
        };
        let reading = async {
            let response = response.await.map_err(failed)?;
            read(&mut Answering::new(response, method)).await
        };
        tokio::select! {
            () = writing => Err(Outcome::NoResponse),
            answer = reading => answer,
        }
    };
    // Its end is seen by the request, after all that came before.
    let carrying = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = talking => answer,
        () = carrying => Err(Outcome::NoResponse),
    }
}

/// What an error before the answer says.
fn failed(error: h2::Error) -> Outcome {
    if error.is_library() {
        Outcome::BadResponse
    } else {
        Outcome::NoResponse
    }
}

/// Sends a body that is framed as in HTTP/1.1.
async fn write(up: SendStream<Bytes>, framing: Framing, mut body: &[u8]) -> io::Result<()> {
    let mut out = Outbound::body(up, framing);
    poll_fn(|context| {
        loop {
            ready!(out.poll_send(context))?;
            if body.is_empty() || out.is_over() {
                return Poll::Ready(out.send_end());
            }
            let taken = out.take(body)?;
            body = &body[taken..];
        }
    })
    .await
}

impl Answering {
    fn new(response: Response<h2::RecvStream>, method: Method) -> Self {
        let ended = match response.body().is_end_stream() {
            true => Ended::Yes,
            false => Ended::No,
        };
        let mut framing = Vec::new();
        let kind = head::write_response(&response, (ended, method), &mut framing);
        Self(Inbound::new(framing, Some(response.into_body()), kind))
    }
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let inbound = &mut self.0;
        while inbound.is_empty() {
            match inbound.kind {
                Source::Head | Source::Over | Source::End => return Poll::Ready(Ok(())),
                Source::Raw | Source::Chunked | Source::Tunnel => {
                    ready!(inbound.poll_data(context)).map_err(broken)?;
                }
            }
        }
        inbound.read(room);
        Poll::Ready(Ok(()))
    }
}
