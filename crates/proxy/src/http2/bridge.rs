//! One stream of HTTP/2 as bytes of HTTP/1.1, in both directions.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http1::{BodyReader, FieldKind, Framing, Method, ResponseHead, SegmentKind};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Body, Ended};
use crate::stream::Stream;

/// The most of a response that is taken at a time.
const TAKEN_BYTES_MAX: usize = 16 * 1024;

/// A stream. It reads as one request, and after it as a silent client; it takes one response.
#[derive(Debug)]
pub(crate) struct Bridge {
    incoming: Incoming,
    outgoing: Outgoing,
}

/// The request's side.
#[derive(Debug)]
struct Incoming {
    body: RecvStream,
    kind: Source,
    /// Framing to be read before `data`.
    framing: Vec<u8>,
    framing_read: usize,
    data: Bytes,
}

/// What comes after what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Raw,
    Chunked,
    /// Bytes, once the tunnel stands.
    Tunnel,
    /// The request has ended.
    Over,
    /// The tunnel's client has ended.
    End,
}

/// The response's side.
#[derive(Debug)]
struct Outgoing {
    method: Method,
    is_tunnel: bool,
    stage: Stage,
    head: ResponseHead,
    head_bytes: Vec<u8>,
    /// Part of the body that was taken and not sent.
    data: Bytes,
}

#[derive(Debug)]
enum Stage {
    Head(SendResponse<Bytes>),
    Body(SendStream<Bytes>, BodyReader),
    Tunnel(SendStream<Bytes>),
    /// The stream's end was sent.
    Over,
}

fn broken<E>(_: E) -> io::Error {
    io::ErrorKind::ConnectionReset.into()
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
        Self {
            incoming: Incoming {
                body: request.into_body(),
                kind: match body {
                    Body::None => Source::Over,
                    Body::Raw => Source::Raw,
                    Body::Chunked => Source::Chunked,
                    Body::Tunnel => Source::Tunnel,
                },
                framing,
                framing_read: 0,
                data: Bytes::new(),
            },
            outgoing: Outgoing {
                method,
                is_tunnel: body == Body::Tunnel,
                stage: Stage::Head(respond),
                head: ResponseHead::default(),
                head_bytes: Vec::new(),
                data: Bytes::new(),
            },
        }
    }

    /// Ready once there are bytes to read, or their end.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stands = matches!(self.outgoing.stage, Stage::Tunnel(_) | Stage::Over);
        let incoming = &mut self.incoming;
        while incoming.is_empty() {
            match incoming.kind {
                Source::End => return Poll::Ready(Ok(())),
                Source::Over => return self.outgoing.poll_left(context),
                Source::Tunnel if !stands => return self.outgoing.poll_left(context),
                Source::Raw | Source::Chunked | Source::Tunnel => {
                    ready!(incoming.poll_data(context))?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Incoming {
    fn is_empty(&self) -> bool {
        self.framing_read == self.framing.len() && self.data.is_empty()
    }

    fn set_framing(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.framing.clear();
        self.framing_read = 0;
        write(&mut self.framing);
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.body.poll_data(context)) {
            Some(Ok(data)) => {
                if self.kind == Source::Chunked && !data.is_empty() {
                    let size = format!("{:x}\r\n", data.len());
                    self.set_framing(|out| out.extend_from_slice(size.as_bytes()));
                }
                self.data = data;
            }
            Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            None => self.kind = ready!(self.poll_end(context))?,
        }
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Source>> {
        match self.kind {
            Source::Tunnel | Source::End => return Poll::Ready(Ok(Source::End)),
            Source::Raw | Source::Over => return Poll::Ready(Ok(Source::Over)),
            Source::Chunked => {}
        }
        let trailers = ready!(self.body.poll_trailers(context)).map_err(broken)?;
        self.set_framing(|out| {
            out.extend_from_slice(b"0\r\n");
            head::write_trailers(trailers.as_ref(), out);
        });
        Poll::Ready(Ok(Source::Over))
    }

    /// Gives out what is there.
    fn read(&mut self, room: &mut ReadBuf<'_>) {
        let framing = &self.framing[self.framing_read..];
        let count = framing.len().min(room.remaining());
        room.put_slice(&framing[..count]);
        self.framing_read += count;
        let count = self.data.len().min(room.remaining());
        if count == 0 {
            return;
        }
        room.put_slice(&self.data[..count]);
        self.data.advance(count);
        // What was read makes room for more; a stream that is gone needs none.
        let _ = self.body.flow_control().release_capacity(count);
        if self.data.is_empty() && self.kind == Source::Chunked {
            self.set_framing(|out| out.extend_from_slice(b"\r\n"));
        }
    }
}

impl Outgoing {
    /// Ready once the client has reset the stream, or the response has ended.
    fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let reset = match &mut self.stage {
            Stage::Head(respond) => respond.poll_reset(context),
            Stage::Body(send, _) | Stage::Tunnel(send) => send.poll_reset(context),
            Stage::Over => return Poll::Ready(Ok(())),
        };
        reset.map(|reset| Err(broken(reset)))
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
        self.stage = match (is_over, is_tunnel) {
            (true, _) => Stage::Over,
            (false, true) => Stage::Tunnel(send),
            (false, false) => Stage::Body(send, BodyReader::new(framing)),
        };
        Ok(())
    }

    /// Takes bytes of the body, up to its next run of payload. Returns how many.
    fn take_body(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Stage::Body(_, reader) = &mut self.stage else {
            self.data = Bytes::copy_from_slice(bytes);
            return Ok(bytes.len());
        };
        let mut taken = 0;
        while let Some(segment) = reader.advance(&bytes[taken..]).map_err(io::Error::other)? {
            let begin = taken;
            taken += segment.bytes;
            if segment.kind == SegmentKind::Payload {
                self.data = Bytes::copy_from_slice(&bytes[begin..taken]);
                break;
            }
        }
        Ok(taken)
    }

    /// Sends what was taken, as far as the client has room for it.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.data.is_empty() {
            let (send, is_last) = match &mut self.stage {
                Stage::Body(send, reader) => {
                    let is_last = reader.is_ended() && reader.trailer().is_empty();
                    (send, is_last)
                }
                Stage::Tunnel(send) => (send, false),
                Stage::Head(_) | Stage::Over => {
                    return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
                }
            };
            if send.capacity() == 0 {
                send.reserve_capacity(self.data.len());
                match ready!(send.poll_capacity(context)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                    None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                }
            }
            let count = send.capacity().min(self.data.len());
            let data = self.data.split_to(count);
            let is_over = is_last && self.data.is_empty();
            send.send_data(data, is_over).map_err(broken)?;
            if is_over {
                self.stage = Stage::Over;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the end of a body that has ended.
    fn send_end(&mut self) -> io::Result<()> {
        let Stage::Body(send, reader) = &mut self.stage else {
            return Ok(());
        };
        if !reader.is_ended() {
            return Ok(());
        }
        match head::read_trailers(reader.trailer()) {
            Some(trailers) => send.send_trailers(trailers).map_err(broken)?,
            None => send.send_data(Bytes::new(), true).map_err(broken)?,
        }
        self.stage = Stage::Over;
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
            FieldKind::ContentLength => !head.is_interim(),
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
        let value = HeaderValue::from_bytes(header.value).map_err(io::Error::other)?;
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
        ready!(outgoing.poll_send(context))?;
        Poll::Ready(match outgoing.stage {
            Stage::Head(_) => outgoing.take_head(bytes),
            Stage::Body(..) | Stage::Tunnel(_) => {
                outgoing.take_body(&bytes[..bytes.len().min(TAKEN_BYTES_MAX)])
            }
            // Nothing belongs to this stream after its response.
            Stage::Over => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing.poll_send(context))?;
        Poll::Ready(self.outgoing.send_end())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outgoing.poll_send(context))?;
        if let Stage::Tunnel(send) = &mut self.outgoing.stage {
            send.send_data(Bytes::new(), true).map_err(broken)?;
            self.outgoing.stage = Stage::Over;
        }
        Poll::Ready(Ok(()))
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
            Stage::Body(send, _) | Stage::Tunnel(send) => send.send_reset(Reason::INTERNAL_ERROR),
            Stage::Over => {}
        }
    }
}
