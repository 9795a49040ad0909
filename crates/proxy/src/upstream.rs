//! The connection that an attempt has with its endpoint.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use model::Protocol;
use tls::Trust;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use traffic::Progress;

use crate::attempt::overdue;
use crate::claim::{Claim, Connection};
use crate::client::Client;
use crate::clock::{micros, now_micros};
use crate::exchange::Exchange;
use crate::http2::{Berth, Call, NoStream, Wanted};
use crate::links::Link;
use crate::pool::{Place, connect, poll_connected};
use crate::presence::Asking;
use crate::relay::{End, Failure};
use crate::stream::Stream;
use crate::visit::Visit;
use crate::watch::TICK;
use crate::wire::{NotSecured, Wire, secure};

const FAILED: End = End::Unanswered(Failure::Connect, Progress::NothingSent);
const NOT_SECURED: End = End::Unanswered(Failure::NotSecured, Progress::NothingSent);

/// A connection to an endpoint, as far as one request uses it.
#[derive(Debug)]
pub(crate) enum Upstream {
    /// All of it.
    Whole(Link<Wire>),
    /// One stream of it.
    Call(Box<Call>),
}

impl Upstream {
    /// True if responses may be those of gRPC, which needs HTTP/2.
    pub(crate) fn may_be_grpc(&self) -> bool {
        matches!(self, Self::Call(_))
    }

    /// How many of gRPC's messages have come; `None` within one, or if this is not gRPC.
    pub(crate) fn messages(&self) -> Option<u64> {
        match self {
            Self::Whole(_) => None,
            Self::Call(call) => call.messages(),
        }
    }

    /// True if what the endpoint sent is no response, whoever it was for.
    pub(crate) fn is_garbled(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Call(call) => call.is_garbled(),
        }
    }

    /// Acknowledges what has come without waiting for more. A connection with many streams has
    /// always something to send that does so.
    pub(crate) fn acknowledge(&self) {
        if let Self::Whole(link) = self {
            // Where the kernel will not, it is only later.
            let _ = rustix::net::sockopt::set_tcp_quickack(link.stream.socket(), true);
        }
    }

    /// True if the endpoint has certainly looked at nothing of the request, although some of it
    /// was sent.
    pub(crate) fn is_unread(&self) -> bool {
        match self {
            Self::Whole(_) => false,
            Self::Call(call) => call.is_unread(),
        }
    }
}

/// Why there is no connection to an endpoint.
#[derive(Debug)]
pub(crate) enum NoUpstream {
    /// It has all that it may have.
    Full,
    /// This happened.
    Failed(End),
}

/// A connection to the endpoint: one that is idle or takes another request, or a new one.
pub(crate) async fn upstream<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    claim: &mut Claim,
) -> Result<Upstream, NoUpstream> {
    let upstream = match claim.place.protocol {
        Protocol::Http1 => {
            if let Some(link) = idle(client, visit, (claim.place, None)) {
                claim.connection = Connection::Reused;
                return Ok(Upstream::Whole(link));
            }
            let Link { stream, seat } = linked(client, exchange, visit, claim).await?;
            let stream = Wire::Plain(stream);
            Upstream::Whole(Link { stream, seat })
        }
        // Apart, so that others need not have the size of these.
        Protocol::Https => Box::pin(secured(client, exchange, visit, claim)).await?,
        Protocol::H2c | Protocol::H2 => Box::pin(called(client, exchange, visit, claim))
            .await
            .map_err(NoUpstream::Failed)?,
    };
    if client.thread.access.is_on() {
        visit.account.connected_micros = now_micros();
    }
    Ok(upstream)
}

/// An idle connection that may carry the request. The time is rounded up to the next tick.
fn idle<S: Stream>(
    client: &Client<S>,
    visit: &Visit,
    to: (Place, Option<&Arc<Trust>>),
) -> Option<Link<Wire>> {
    let thread = &client.thread;
    let now = thread.watches.coarse_micros() + micros(TICK);
    let may = visit.may_use_idle();
    may.then(|| thread.pool.take(to, visit.method, now))?
}

/// A connection to an endpoint that speaks HTTP/1.1 over TLS.
async fn secured<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    claim: &mut Claim,
) -> Result<Upstream, NoUpstream> {
    // Of the table that the endpoint was claimed under: a later one may not have it any more.
    let place = claim.place;
    let trust = client.thread.trust(place.cell);
    let trust = trust.ok_or(NoUpstream::Failed(NOT_SECURED))?;
    if let Some(link) = idle(client, visit, (place, Some(&trust))) {
        claim.connection = Connection::Reused;
        return Ok(Upstream::Whole(link));
    }
    let Link { stream, seat } = linked(client, exchange, visit, claim).await?;
    // The time to connect goes on: the handshake is part of it.
    let mut wait = Waiting::on(client, exchange, visit);
    wait.late = NOT_SECURED;
    let mut securing = pin!(secure(stream, (trust, place.protocol)));
    let secured = poll_fn(|context| match securing.as_mut().poll(context) {
        Poll::Ready(Ok(wire)) => Poll::Ready(Ok(wire)),
        Poll::Ready(Err(error)) => {
            note_not_secured(place, &error);
            Poll::Ready(Err(NOT_SECURED))
        }
        Poll::Pending => wait.poll(context).map(Err),
    });
    let stream = secured.await.map_err(NoUpstream::Failed)?;
    Ok(Upstream::Whole(Link { stream, seat }))
}

/// Says why a program could not be believed; its probes say so to the user.
pub(crate) fn note_not_secured(place: Place, error: &NotSecured) {
    let error: &dyn std::error::Error = error;
    tracing::debug!(address = %place.address, error, "a connection to an endpoint is not secured");
}

/// A new connection to the endpoint, if it may have another one.
pub(crate) async fn linked<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    claim: &Claim,
) -> Result<Link, NoUpstream> {
    let bound = visit.connections_max.zip(visit.service);
    let seat = match bound {
        None => None,
        Some((most, service)) => {
            let seat = client.thread.seat((service, claim.place.cell), most);
            Some(seat.ok_or(NoUpstream::Full)?)
        }
    };
    let stream = connected(client, exchange, visit, claim)
        .await
        .map_err(NoUpstream::Failed)?;
    Ok(Link { stream, seat })
}

/// Connects to the endpoint; the client may leave meanwhile.
async fn connected<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    claim: &Claim,
) -> Result<TcpStream, End> {
    let stream = connect(claim.place.address).map_err(|_| FAILED)?;
    let mut wait = Waiting::begin(client, exchange, visit);
    poll_fn(|context| match poll_connected(context, &stream) {
        Poll::Ready(connected) => Poll::Ready(connected.map_err(|_| FAILED)),
        Poll::Pending => wait.poll(context).map(Err),
    })
    .await?;
    introduce(&stream, &visit.introduction).map_err(|_| FAILED)?;
    Ok(stream)
}

/// Begins a connection that has just been made, before a handshake: a kernel that has sent
/// nothing on it yet takes so little at once.
///
/// # Errors
///
/// When it does not.
pub(crate) fn introduce(stream: &TcpStream, introduction: &[u8]) -> io::Result<()> {
    if introduction.is_empty() || stream.try_write(introduction)? == introduction.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

/// Begins a stream to the endpoint.
async fn called<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    claim: &mut Claim,
) -> Result<Upstream, End> {
    let thread = std::rc::Rc::clone(&client.thread);
    let wanted = Wanted {
        place: claim.place,
        trust: match claim.place.protocol.is_secured() {
            true => Some(thread.trust(claim.place.cell).ok_or(NOT_SECURED)?),
            false => None,
        },
        method: visit.method,
        since_micros: match visit.may_use_idle() {
            true => 0,
            false => visit.arrived_micros,
        },
    };
    let take = || -> Berth {
        thread
            .trunks
            .take(&thread, &wanted, visit.limits.connect_timeout)
    };
    let mut berth = take();
    let mut wait = Waiting::begin(client, exchange, visit);
    poll_fn(|context| {
        loop {
            match berth.poll_open(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(NoStream::Full)) => berth = take(),
                Poll::Ready(Err(NoStream::Failed)) => return Poll::Ready(Err(FAILED)),
                Poll::Ready(Err(NoStream::NotSecured)) => return Poll::Ready(Err(NOT_SECURED)),
                Poll::Pending => {
                    if berth.is_not_secured() {
                        wait.late = NOT_SECURED;
                    }
                    return wait.poll(context).map(Err);
                }
            }
        }
    })
    .await?;
    claim.connection = match berth.is_reused() {
        true => Connection::Reused,
        false => Connection::New,
    };
    Ok(Upstream::Call(Box::new(Call::new(berth))))
}

/// A wait for a connection; the client may leave meanwhile.
struct Waiting<'a, S: Stream> {
    client: &'a mut Client<S>,
    exchange: &'a mut Exchange,
    visit: &'a Visit,
    asking: Asking,
    /// What it is when its time is over.
    late: End,
}

impl<'a, S: Stream> Waiting<'a, S> {
    fn begin(client: &'a mut Client<S>, exchange: &'a mut Exchange, visit: &'a Visit) -> Self {
        client
            .watch
            .set_deadline_before(visit.limits.connect_timeout, visit.until());
        Self::on(client, exchange, visit)
    }

    /// The rest of a wait that has begun.
    fn on(client: &'a mut Client<S>, exchange: &'a mut Exchange, visit: &'a Visit) -> Self {
        Self {
            client,
            exchange,
            visit,
            asking: Asking::before_response::<S>(visit.client_side.version()),
            late: FAILED,
        }
    }

    /// Ready once there is no more to wait for.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<End> {
        let up = &mut self.exchange.up;
        if self.client.poll_gone(context, up, self.asking).is_ready() {
            Poll::Ready(End::ClientGone)
        } else if self.client.watch.is_cut() {
            Poll::Ready(End::Cut)
        } else if self.client.watch.is_overdue() {
            let now = self.client.thread.watches.coarse_micros();
            Poll::Ready(self.visit.late(now).map_or(self.late, overdue))
        } else {
            Poll::Pending
        }
    }
}

impl AsyncRead for Upstream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(link) => Pin::new(&mut link.stream).poll_read(context, room),
            Self::Call(call) => Pin::new(&mut **call).poll_read(context, room),
        }
    }
}

impl AsyncWrite for Upstream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Whole(link) => Pin::new(&mut link.stream).poll_write(context, bytes),
            Self::Call(call) => Pin::new(&mut **call).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Whole(link) => Pin::new(&mut link.stream).poll_write_vectored(context, parts),
            Self::Call(call) => Pin::new(&mut **call).poll_write_vectored(context, parts),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(link) => Pin::new(&mut link.stream).poll_flush(context),
            Self::Call(call) => Pin::new(&mut **call).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(link) => Pin::new(&mut link.stream).poll_shutdown(context),
            Self::Call(call) => Pin::new(&mut **call).poll_shutdown(context),
        }
    }
}

impl Stream for Upstream {
    fn poll_read_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Whole(link) => link.stream.poll_read_ready(context),
            Self::Call(call) => call.poll_read_ready(context),
        }
    }

    fn poll_goodbye(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Whole(link) => link.stream.poll_goodbye(context),
            Self::Call(call) => call.poll_goodbye(context),
        }
    }

    fn abort(&mut self) {
        match self {
            Self::Whole(link) => link.stream.abort(),
            Self::Call(call) => call.abort(),
        }
    }
}
