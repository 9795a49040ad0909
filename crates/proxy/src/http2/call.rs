//! A request to an endpoint that speaks HTTP/2: a stream that looks like a connection of
//! HTTP/1.1 with this one request, so that whoever relays it need not know.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{HeaderValue, Response};
use http1::Method;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::head::{self, Ended};
use super::inbound::{Inbound, Source, broken};
use super::outbound::Outbound;
use super::switch;
use super::trunk::Berth;
use crate::stream::Stream;

/// A stream to an endpoint. It takes one request and reads as its responses.
#[derive(Debug)]
pub(crate) struct Call {
    outgoing: Outgoing,
    incoming: Inbound,
    /// Whether the endpoint has said, or we know, that it looked at nothing of the request.
    is_unread: bool,
    /// Whether the endpoint broke the rules.
    is_garbled: bool,
    /// Given back after the stream.
    berth: Berth,
}

/// The request's side.
#[derive(Debug)]
enum Outgoing {
    /// What there is of its head.
    Head(Vec<u8>),
    After(Sent),
    /// It could not be sent.
    Failed,
}

/// A request whose head was sent.
#[derive(Debug)]
struct Sent {
    method: Method,
    response: ResponseFuture,
    body: Outbound,
    /// The key of the WebSocket that was asked for.
    websocket: Option<HeaderValue>,
}

impl Call {
    /// A stream on the connection that the berth is on; nothing is sent yet.
    pub(crate) fn new(berth: Berth) -> Self {
        Self {
            outgoing: Outgoing::Head(Vec::with_capacity(512)),
            incoming: Inbound::new(Vec::new(), None, Source::Head),
            is_unread: false,
            is_garbled: false,
            berth,
        }
    }

    /// True if the endpoint has certainly looked at nothing of the request: it refused the
    /// stream, or its connection was told to end before the stream's turn came.
    pub(crate) fn is_unread(&self) -> bool {
        self.is_unread
    }

    /// True if the endpoint, or the connection to it, broke the rules.
    pub(crate) fn is_garbled(&self) -> bool {
        self.is_garbled
    }

    /// How many of gRPC's messages were read; `None` within one, or if this is not gRPC.
    pub(crate) fn messages(&self) -> Option<u64> {
        self.incoming.messages()
    }

    /// Takes bytes of the request's head. Returns how many.
    fn take_head(&mut self, bytes: &[u8]) -> io::Result<usize> {
        const END: &[u8] = b"\r\n\r\n";
        let Outgoing::Head(head) = &mut self.outgoing else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let before = head.len();
        let search_from = before.saturating_sub(END.len() - 1);
        head.extend_from_slice(bytes);
        let mut windows = head[search_from..].windows(END.len());
        let Some(at) = windows.position(|window| window == END) else {
            return Ok(bytes.len());
        };
        let length = search_from + at + END.len();
        let read = head::read_request(&head[..length], self.berth.scheme());
        self.outgoing = Outgoing::Failed;
        let read = read.ok_or(io::ErrorKind::InvalidInput)?;
        self.outgoing = Outgoing::After(self.send(read)?);
        Ok(length - before)
    }

    /// Begins the stream with a request's head.
    fn send(&mut self, read: head::Read) -> io::Result<Sent> {
        let (mut request, framing) = (read.request, read.framing);
        let method = match *request.method() {
            http::Method::HEAD => Method::Head,
            _ => Method::Get,
        };
        // A program that knows nothing of them is asked for what it has at that path: an offer
        // may be passed over.
        let offered = read.offers_websocket && self.berth.takes_websockets();
        let websocket = offered.then(|| switch::connect(&mut request)).flatten();
        let is_over = framing.is_empty() && websocket.is_none();
        let sent = self.berth.send(request, is_over);
        let (response, send) = sent.map_err(|error| self.fail(&error))?;
        let body = match (is_over, &websocket) {
            (true, _) => Outbound::over(),
            (false, Some(_)) => Outbound::tunnel(send),
            (false, None) => Outbound::body(send, framing),
        };
        Ok(Sent {
            method,
            response,
            body,
            websocket,
        })
    }

    /// Notes what an error says about the request.
    fn fail(&mut self, error: &h2::Error) -> io::Error {
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // The streams that an endpoint leaves undone at its goodbye end with it; those before
        // them go on, and end with an error of the connection if that is what they meet.
        self.is_unread |= error.is_remote() && (is_refused || error.is_go_away());
        self.is_garbled |= error.is_library() || self.berth.is_garbled();
        broken(error)
    }

    /// Ready once there are bytes to read, or their end.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.incoming.is_empty() {
            match self.incoming.kind {
                Source::Over | Source::End => return Poll::Ready(Ok(())),
                Source::Head => ready!(self.poll_response(context))?,
                Source::Raw | Source::Chunked | Source::Tunnel => {
                    let polled = ready!(self.incoming.poll_data(context));
                    polled.map_err(|error| self.fail(&error))?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_response(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = match &mut self.outgoing {
            Outgoing::After(sent) => sent,
            Outgoing::Head(_) => return Poll::Pending,
            Outgoing::Failed => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let (method, websocket) = (sent.method, sent.websocket.clone());
        let answered = match ready!(sent.response.poll_informational(context)) {
            Some(interim) => interim.map(|interim| self.read_interim(&interim)),
            None => ready!(Pin::new(&mut sent.response).poll(context))
                .map(|response| self.read_final(response, (method, websocket))),
        };
        match answered {
            Ok(read) => Poll::Ready(read),
            Err(error) => Poll::Ready(Err(self.fail(&error))),
        }
    }

    fn read_interim(&mut self, interim: &Response<()>) -> io::Result<()> {
        self.berth.note_alive();
        // HTTP/2 has other means to change the protocol.
        if interim.status() == http::StatusCode::SWITCHING_PROTOCOLS {
            self.is_garbled = true;
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.incoming
            .set_framing(|out| head::write_interim(interim, out));
        Ok(())
    }

    fn read_final(
        &mut self,
        response: Response<RecvStream>,
        (method, websocket): (Method, Option<HeaderValue>),
    ) -> io::Result<()> {
        self.berth.note_alive();
        if let Some(key) = websocket {
            if response.status().is_success() {
                let switch = |out: &mut Vec<u8>| switch::write(&response, &key, out);
                self.incoming.set_framing(switch);
                let body = response.into_body();
                self.incoming.begin_body(body, Source::Tunnel);
                return Ok(());
            }
            if let Outgoing::After(sent) = &mut self.outgoing {
                sent.body.end_tunnel()?;
            }
        }
        let ended = match response.body().is_end_stream() {
            true => Ended::Yes,
            false => Ended::No,
        };
        let content_type = response.headers().get(http::header::CONTENT_TYPE);
        if content_type.is_some_and(|kind| traffic::grpc::is_grpc(kind.as_bytes())) {
            self.incoming.follow_messages();
        }
        let mut kind = Source::Over;
        self.incoming
            .set_framing(|out| kind = head::write_response(&response, (ended, method), out));
        self.incoming.begin_body(response.into_body(), kind);
        Ok(())
    }
}

impl AsyncRead for Call {
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

impl AsyncWrite for Call {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Outgoing::After(sent) = &mut self.outgoing {
            ready!(sent.body.poll_send(context))?;
            return Poll::Ready(sent.body.take(bytes));
        }
        Poll::Ready(self.take_head(bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Outgoing::After(sent) = &mut self.outgoing else {
            return Poll::Ready(Ok(()));
        };
        ready!(sent.body.poll_send(context))?;
        Poll::Ready(sent.body.send_end())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Outgoing::After(sent) = &mut self.outgoing else {
            return Poll::Ready(Ok(()));
        };
        ready!(sent.body.poll_send(context))?;
        Poll::Ready(sent.body.end_tunnel())
    }
}

impl Stream for Call {
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_input(context)
    }

    fn poll_goodbye(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn abort(&mut self) {
        if let Outgoing::After(sent) = &mut self.outgoing {
            sent.body.reset(Reason::CANCEL);
        }
    }
}
