//! One stream of HTTP/2 from a client as bytes of HTTP/1.1, in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{Request, StatusCode};
use http1::{Framing, Method};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Body, Ended};
use super::inbound::{Inbound, Source, broken};
use super::outbound::Outbound;
use super::response::{self, Said};
use crate::stream::Stream;

/// A stream. It reads as one request, and after it as a silent client; it takes one response.
#[derive(Debug)]
pub(crate) struct Bridge {
    incoming: Inbound,
    outgoing: Outgoing,
}

/// The response's side.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    is_tunnel: bool,
    stage: Stage,
    /// A head that has come in part.
    head_bytes: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Head(SendResponse<Bytes>),
    After(Outbound),
}

impl Bridge {
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        key: (u64, u64),
    ) -> Self {
        let ended = match request.body().is_end_stream() {
            true => Ended::Yes,
            false => Ended::No,
        };
        let mut framing = Vec::with_capacity(512);
        let body = head::write(&request, ended, key, &mut framing);
        let method = match *request.method() {
            http::Method::HEAD => Method::Head,
            _ => Method::Get,
        };
        let kind = match body {
            Body::None => Source::Over,
            Body::Raw => Source::Raw,
            Body::Chunked => Source::Chunked,
            Body::Tunnel => Source::Tunnel,
        };
        Self {
            incoming: Inbound::new(framing, Some(request.into_body()), kind),
            outgoing: Outgoing {
                method,
                is_tunnel: body == Body::Tunnel,
                stage: Stage::Head(respond),
                head_bytes: Vec::new(),
            },
        }
    }

    /// Ready once there are bytes to read, or their end.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stands = match &self.outgoing.stage {
            Stage::Head(_) => false,
            Stage::After(outbound) => outbound.is_tunnel() || outbound.is_over(),
        };
        let incoming = &mut self.incoming;
        while incoming.is_empty() {
            match incoming.kind {
                Source::End => return Poll::Ready(Ok(())),
                Source::Over | Source::Head => return self.outgoing.poll_left(context),
                Source::Tunnel if !stands => return self.outgoing.poll_left(context),
                Source::Raw | Source::Chunked | Source::Tunnel => {
                    ready!(incoming.poll_data(context)).map_err(broken)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Outgoing {
    /// Ready once the client has reset the stream, or the response has ended.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stage {
            Stage::Head(respond) => respond.poll_reset(context).map(|reset| Err(broken(reset))),
            Stage::After(outbound) => outbound.poll_reset(context),
        }
    }

    /// Takes bytes of the response's heads. Returns how many.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = self.head_bytes.len();
        let said = if before == 0 {
            response::read(bytes, self.method)
        } else {
            self.head_bytes.extend_from_slice(bytes);
            response::read(&self.head_bytes, self.method)
        };
        let Some(said) = said.map_err(io::Error::other)? else {
            if before == 0 {
                self.head_bytes.extend_from_slice(bytes);
            }
            return Ok(bytes.len());
        };
        self.head_bytes.clear();
        let taken = said.bytes - before;
        self.send_head(said)?;
        Ok(taken)
    }

    fn send_head(&mut self, said: Said) -> io::Result<()> {
        let Stage::Head(respond) = &mut self.stage else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let (mut response, framing) = (said.response, said.framing);
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS && self.is_tunnel;
        if is_tunnel {
            *response.status_mut() = StatusCode::OK;
        } else if response.status().is_informational() {
            return respond.send_informational(response).map_err(broken);
        }
        let is_over = !is_tunnel && matches!(framing, Framing::None | Framing::Length(0));
        let send = respond.send_response(response, is_over).map_err(broken)?;
        self.stage = Stage::After(match (is_over, is_tunnel) {
            (true, _) => Outbound::over(),
            (false, true) => Outbound::tunnel(send),
            (false, false) => Outbound::body(send, framing),
        });
        Ok(())
    }
}

impl AsyncRead for Bridge {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_input(context))?;
        self.incoming.read(room);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bridge {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outgoing = &mut self.outgoing;
        Poll::Ready(match &mut outgoing.stage {
            Stage::Head(_) => outgoing.take_head(bytes),
            Stage::After(outbound) => {
                ready!(outbound.poll_send(context))?;
                outbound.take(bytes)
            }
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::After(outbound) = &mut self.outgoing.stage else {
            return Poll::Ready(Ok(()));
        };
        ready!(outbound.poll_send(context))?;
        Poll::Ready(outbound.send_end())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Stage::After(outbound) = &mut self.outgoing.stage else {
            return Poll::Ready(Ok(()));
        };
        ready!(outbound.poll_send(context))?;
        Poll::Ready(outbound.end_tunnel())
    }
}

impl Stream for Bridge {
    const PROTOCOL: Option<&'static str> = Some("HTTP/2");

    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_input(context)
    }

    fn poll_goodbye(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn abort(&mut self) {
        match &mut self.outgoing.stage {
            Stage::Head(respond) => respond.send_reset(Reason::INTERNAL_ERROR),
            Stage::After(outbound) => outbound.reset(Reason::INTERNAL_ERROR),
        }
    }
}
