//! A client's connection from its first byte to its last.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http1::{Next, Refusal};
use model::{ClientCertificates, Demand};
use traffic::Closed;

use crate::accept::Entrance;
use crate::buffer::Fill;
use crate::crowds::Counted;
use crate::exchange::Exchange;
use crate::http2::PREFACE;
use crate::orders::Ending;
use crate::presence::Side;
use crate::secure::Secured;
use crate::start::Loopback;
use crate::stream::Stream;
use crate::thread::Thread;
use crate::visit::Visit;
use crate::watch::{State, Watch};

/// How long, and how much, is read from a client that was answered before it was heard out,
/// so that the answer is not lost to a reset.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
/// Stands for this machine where it is bounded like any client.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// A connection's place among those that a thread counts, given back when dropped.
#[derive(Debug)]
struct Seat(Rc<Thread>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.connection_ends();
    }
}

/// A connection that was accepted, before anything is known of it but where it came from.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) thread: Rc<Thread>,
    pub(crate) entrance: Rc<Entrance>,
    pub(crate) peer: SocketAddr,
    pub(crate) watch: Watch,
    seat: Seat,
    /// Its place among its address' connections, if these are bounded.
    counted: Option<Counted>,
}

impl Arrival {
    pub(crate) fn new(thread: Rc<Thread>, entrance: Rc<Entrance>, peer: SocketAddr) -> Self {
        thread.connection_begins();
        Self {
            entrance,
            peer,
            watch: Watch::new(&thread.watches),
            seat: Seat(Rc::clone(&thread)),
            counted: None,
            thread,
        }
    }

    /// Counts the connection among those of its address. False: there are too many.
    pub(crate) fn is_within_bound(&mut self) -> bool {
        take_place(&self.thread, self.peer, &mut self.counted)
    }
}

/// Takes a connection's place among those of an address, if these are bounded. False: there is
/// none left.
fn take_place(thread: &Thread, peer: SocketAddr, counted: &mut Option<Counted>) -> bool {
    let address = match (peer.ip(), thread.settings.loopback) {
        (address, Loopback::Bounded) if address.is_loopback() => STRANGER,
        (address, Loopback::Bounded | Loopback::Unbounded) => address,
    };
    let Some(most) = thread.with_routing(|routing| routing.table.peers.connections_max(address))
    else {
        return true;
    };
    *counted = thread.crowds.count(address, most);
    counted.is_some()
}

/// How a connection is secured.
#[derive(Debug, Clone)]
pub(crate) enum Security {
    /// Not at all.
    Plain,
    /// By TLS.
    Tls(Rc<Secured>),
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client<S: Stream> {
    pub(crate) thread: Rc<Thread>,
    pub(crate) entrance: Rc<Entrance>,
    pub(crate) stream: S,
    pub(crate) watch: Watch,
    /// The client's address.
    pub(crate) peer: SocketAddr,
    /// Its address in text, without the port.
    pub(crate) peer_text: Rc<str>,
    pub(crate) security: Security,
    reading: bool,
    pub(crate) side: Side,
    counted: Option<Counted>,
    /// Given back after everything else.
    _seat: Option<Seat>,
}

/// An address in text, without the port, for everything of a connection to share.
fn text(peer: SocketAddr) -> Rc<str> {
    Rc::from(peer.ip().to_canonical().to_string())
}

/// What is the same for every request of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    thread: Rc<Thread>,
    entrance: Rc<Entrance>,
    peer: SocketAddr,
    peer_text: Rc<str>,
    security: Security,
}

/// How a connection's wait for a head ended.
#[derive(Debug)]
pub(crate) enum Head {
    /// It is there.
    Whole,
    /// It is none.
    Refused(Refusal),
    /// It did not come in time.
    Late,
    /// The client is gone, or was let go.
    Gone,
}

/// What becomes of a connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The response was whole.
    Answered(Next),
    /// There is nobody to say anything to.
    Gone,
    /// The response cannot be ended: the client must see that.
    Abort,
}

impl<S: Stream> Client<S> {
    pub(crate) fn new(arrival: Arrival, stream: S, security: Security) -> Self {
        let peer_text = text(arrival.peer);
        Self {
            thread: arrival.thread,
            entrance: arrival.entrance,
            stream,
            watch: arrival.watch,
            peer: arrival.peer,
            peer_text,
            security,
            reading: false,
            side: Side::default(),
            counted: arrival.counted,
            _seat: Some(arrival.seat),
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin {
            thread: Rc::clone(&self.thread),
            entrance: Rc::clone(&self.entrance),
            peer: self.peer,
            peer_text: Rc::clone(&self.peer_text),
            security: self.security.clone(),
        }
    }

    /// A client that is one stream of a connection.
    pub(crate) fn of_stream(origin: &Origin, stream: S) -> Self {
        let origin = origin.clone();
        Self {
            watch: Watch::new(&origin.thread.watches),
            thread: origin.thread,
            entrance: origin.entrance,
            stream,
            peer: origin.peer,
            peer_text: origin.peer_text,
            security: origin.security,
            reading: false,
            side: Side::default(),
            counted: None,
            _seat: None,
        }
    }

    /// The scheme of the URLs that lead here.
    pub(crate) fn scheme(&self) -> &'static str {
        match self.security {
            Security::Plain => "http",
            Security::Tls(_) => "https",
        }
    }

    /// True if nobody on the way can read or change what is said.
    pub(crate) fn is_secured(&self) -> bool {
        matches!(self.security, Security::Tls(_))
    }

    /// Who the client has proven to be in the handshake.
    pub(crate) fn subject(&self) -> Option<&str> {
        match &self.security {
            Security::Plain => None,
            Security::Tls(secured) => secured.subject.as_deref(),
        }
    }

    /// True if the connection was made for another host than a request names.
    pub(crate) fn is_misdirected(&self, hostname: &[u8]) -> bool {
        match &self.security {
            Security::Plain => false,
            Security::Tls(secured) => secured
                .host
                .as_ref()
                .is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(hostname)),
        }
    }

    /// True if the connection was made under this demand. In the clear nobody can show anything,
    /// which only a service's own demand forbids, and only to clients from outside.
    pub(crate) fn has_met(&self, (demand, is_own): (Option<&ClientCertificates>, bool)) -> bool {
        match &self.security {
            Security::Plain => {
                !is_own || demand.is_none_or(|demand| demand.demand == Demand::Optional)
            }
            Security::Tls(secured) => secured.demand.as_deref() == demand,
        }
    }

    /// Says goodbye before a close, where the protocol has a word for it.
    pub(crate) async fn goodbye(&mut self) {
        self.watch.set_deadline_in(LINGER);
        poll_fn(|context| match self.stream.poll_goodbye(context) {
            Poll::Pending if self.watch.is_overdue() => Poll::Ready(()),
            said => said,
        })
        .await;
    }

    /// Notes whose connection this is.
    pub(crate) fn rename(&mut self, peer: SocketAddr) {
        self.peer = peer;
        self.peer_text = text(peer);
    }

    /// Counts the connection among those of the address that it has now. False: there are too many.
    pub(crate) fn is_within_bound(&mut self) -> bool {
        take_place(&self.thread, self.peer, &mut self.counted)
    }

    /// Notes that a request may be in our hands, or no longer is, without being admitted.
    pub(crate) fn set_reading(&mut self, reading: bool) {
        match (self.reading, reading) {
            (false, true) => self.thread.writer.reading_begins(),
            (true, false) => self.thread.writer.reading_ends(),
            (false, false) | (true, true) => {}
        }
        self.reading = reading;
    }

    /// Waits for the next request's first bytes. `None`: the connection is to be closed.
    pub(crate) async fn first_bytes(&mut self, state: State) -> Option<Box<Exchange>> {
        let settings = &self.thread.settings;
        let (patience, late) = match state {
            State::Fresh => (settings.head_timeout, Closed::Silent),
            State::Idle | State::Waiting | State::At(_) | State::Busy => {
                (settings.idle_timeout, Closed::Idle)
            }
        };
        self.watch.set_state(state);
        self.watch.set_deadline_in(patience);
        poll_fn(|context| self.poll_first_bytes(context, late)).await
    }

    fn poll_first_bytes(
        &mut self,
        context: &mut Context<'_>,
        late: Closed,
    ) -> Poll<Option<Box<Exchange>>> {
        match self.stream.poll_read_ready(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(None),
            Poll::Pending => return self.poll_unasked(late),
        }
        self.set_reading(true);
        let mut exchange = self.thread.take_exchange();
        let fill = exchange
            .up
            .input
            .poll_fill(context, &mut self.stream, &self.thread.blocks);
        if let Poll::Ready(Ok(Fill::Bytes)) = fill {
            return Poll::Ready(Some(exchange));
        }
        self.thread.give_back_exchange(exchange);
        self.set_reading(false);
        match fill {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => self.poll_unasked(late),
        }
    }

    /// Ends a connection without a request when its time has come, but not one on which
    /// something has arrived that the runtime does not know of yet.
    fn poll_unasked(&self, late: Closed) -> Poll<Option<Box<Exchange>>> {
        let reason = if self.thread.ending() >= Ending::Closing {
            Closed::Ending
        } else if self.watch.leaves() {
            Closed::Room
        } else if self.watch.is_overdue() {
            late
        } else {
            return Poll::Pending;
        };
        if !self.stream.is_quiet() {
            return Poll::Pending;
        }
        self.thread.writer.closed(reason);
        Poll::Ready(None)
    }

    /// True if the client begins with HTTP/2, some of which is there.
    pub(crate) async fn is_http2(&mut self, exchange: &mut Exchange) -> bool {
        let input = &mut exchange.up.input;
        if !PREFACE.starts_with(&input.filled()[..input.len().min(PREFACE.len())]) {
            return false;
        }
        self.watch.set_state(State::Busy);
        self.watch
            .set_deadline_in(self.thread.settings.head_timeout);
        poll_fn(|context| {
            loop {
                if input.len() >= PREFACE.len() {
                    return Poll::Ready(input.filled().starts_with(PREFACE));
                }
                match input.poll_fill(context, &mut self.stream, &self.thread.blocks) {
                    Poll::Ready(Ok(Fill::Bytes)) if PREFACE.starts_with(input.filled()) => {}
                    Poll::Ready(Ok(Fill::Bytes)) if input.len() >= PREFACE.len() => {}
                    Poll::Pending if !self.watch.is_overdue() => return Poll::Pending,
                    Poll::Ready(_) | Poll::Pending => return Poll::Ready(false),
                }
            }
        })
        .await
    }

    /// Reads a head, some of which is there.
    pub(crate) async fn head(&mut self, exchange: &mut Exchange) -> Head {
        self.watch.set_state(State::Busy);
        let mut is_timed = false;
        poll_fn(|context| {
            loop {
                match exchange.request.read(exchange.up.input.filled()) {
                    Ok(Some(bytes)) => {
                        exchange.up.input.consume(bytes);
                        return Poll::Ready(Head::Whole);
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Head::Refused(refusal)),
                }
                if !is_timed {
                    is_timed = true;
                    self.watch
                        .set_deadline_in(self.thread.settings.head_timeout);
                }
                match exchange
                    .up
                    .input
                    .poll_fill(context, &mut self.stream, &self.thread.blocks)
                {
                    Poll::Ready(Ok(Fill::Bytes)) => {}
                    Poll::Ready(Ok(Fill::Full)) => {
                        return Poll::Ready(Head::Refused(Refusal::HeadTooLarge));
                    }
                    Poll::Ready(Ok(Fill::End) | Err(_)) => return Poll::Ready(Head::Gone),
                    Poll::Pending if self.watch.is_overdue() => return Poll::Ready(Head::Late),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Writes what is left to write.
    pub(crate) async fn flush(&mut self, exchange: &mut Exchange) -> io::Result<()> {
        poll_fn(
            |context| match exchange.down.poll_write(context, &mut self.stream) {
                Poll::Pending if self.watch.is_overdue() => {
                    Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
                }
                written => written,
            },
        )
        .await
    }

    /// Reads and throws away the rest of a request's body. False: close instead.
    pub(crate) async fn discard(&mut self, exchange: &mut Exchange, visit: &mut Visit) -> bool {
        self.watch
            .set_deadline_in(self.thread.settings.head_timeout);
        poll_fn(|context| {
            loop {
                if !visit.discard(exchange) {
                    return Poll::Ready(false);
                }
                if exchange.up.is_body_ended() {
                    return Poll::Ready(true);
                }
                match exchange
                    .up
                    .input
                    .poll_fill(context, &mut self.stream, &self.thread.blocks)
                {
                    Poll::Ready(Ok(Fill::Bytes)) => {}
                    Poll::Ready(Ok(Fill::End | Fill::Full) | Err(_)) => return Poll::Ready(false),
                    Poll::Pending if self.watch.is_overdue() => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// True if nothing that the client has sent is left unread.
    pub(crate) fn is_heard_out(&mut self, exchange: &Exchange) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        exchange.up.is_body_ended()
            && exchange.up.input.is_empty()
            && self.stream.poll_read_ready(&mut context).is_pending()
    }

    /// Closes after a whole response: says so first, then reads on for a while, since a
    /// close with bytes unread would be a reset that takes the response with it.
    pub(crate) async fn linger(&mut self, exchange: &mut Exchange) {
        self.watch.set_state(State::Busy);
        self.watch.set_deadline_in(LINGER);
        let mut read = 0;
        poll_fn(|context| {
            let _ = Pin::new(&mut self.stream).poll_shutdown(context);
            loop {
                read += exchange.up.input.len();
                exchange.up.forget_input();
                let is_over = read > LINGER_BYTES_MAX || self.watch.is_overdue();
                match exchange
                    .up
                    .input
                    .poll_fill(context, &mut self.stream, &self.thread.blocks)
                {
                    Poll::Ready(Ok(Fill::Bytes)) if !is_over => {}
                    Poll::Pending if !is_over => return Poll::Pending,
                    Poll::Ready(_) | Poll::Pending => return Poll::Ready(()),
                }
            }
        })
        .await;
    }

    /// Closes so that the client cannot take what it has for a whole response.
    pub(crate) fn abort(&mut self) {
        self.stream.abort();
    }
}

impl<S: Stream> Drop for Client<S> {
    fn drop(&mut self) {
        if let (Ending::Now, State::At(_)) = (self.thread.ending(), self.watch.state()) {
            self.abort();
        }
        self.set_reading(false);
    }
}
