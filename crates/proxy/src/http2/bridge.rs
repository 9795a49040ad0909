//! One stream of HTTP/2 from a client as bytes of HTTP/1.1, in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http1::{FieldKind, Framing, Method, ResponseHead};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Body, Ended};
use super::inbound::{Inbound, Source, broken};
use super::outbound::Outbound;
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
    head: ResponseHead,
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
                head: ResponseHead::default(),
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
        self.head_bytes.extend_from_slice(bytes);
        let Some(length) = self.head.read(&self.head_bytes).map_err(io::Error::other)? else {
            return Ok(bytes.len());
        };
        self.head_bytes.clear();
        self.send_head()?;
        Ok(length - before)
    }

    fn send_head(&mut self) -> io::Result<()> {
        let Stage::Head(respond) = &mut self.stage else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let status = self.head.status();
        let is_tunnel = status == 101 && self.is_tunnel;
        let response = response(&self.head, if is_tunnel { 200 } else { status })?;
        if self.head.is_interim() && !is_tunnel {
            return respond.send_informational(response).map_err(broken);
        }
        let framing = self.head.framing(self.method);
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

/// A response's head without what belongs to a connection of HTTP/1.1.
fn response(head: &ResponseHead, status: u16) -> io::Result<Response<()>> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
    for header in head.fields() {
        let is_kept = match header.kind {
            FieldKind::Connection
            | FieldKind::TransferEncoding
            | FieldKind::Upgrade
            | FieldKind::HopByHop => false,
            // An answer of gRPC without messages is a head alone.
            FieldKind::ContentLength => {
                !head.is_interim() && head.fields().first("grpc-status").is_none()
            }
            FieldKind::EndToEnd
            | FieldKind::Host
            | FieldKind::Expect
            | FieldKind::Cookie
            | FieldKind::ForwardedFor
            | FieldKind::Forwarded
            | FieldKind::ForwardedOther
            | FieldKind::Underscore => true,
        };
        if !is_kept
            || head.is_interim() && header.name.eq_ignore_ascii_case(b"sec-websocket-accept")
        {
            continue;
        }
        let name = HeaderName::from_bytes(header.name).map_err(io::Error::other)?;
        let mut value = HeaderValue::from_bytes(header.value).map_err(io::Error::other)?;
        value.set_sensitive(head::is_never_repeated(&name));
        response.headers_mut().append(name, value);
    }
    Ok(response)
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
