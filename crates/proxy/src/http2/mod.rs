//! HTTP/2 from clients and to endpoints.
//!
//! Each stream is served like a connection with one request: a [`Bridge`] shows it as a
//! message of HTTP/1.1 and takes the response as one; a [`Call`] does the same on the other
//! side. So every rule about requests stands in one place, whatever a client or an endpoint
//! speaks, and what a stream says is checked as strictly.

mod bridge;
mod call;
mod head;
mod inbound;
mod messages;
mod meter;
mod outbound;
mod response;
mod single;
mod switch;
mod trunk;

use std::cell::Cell as Local;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection};
use h2::{Reason, RecvStream};
use traffic::Closed;

use crate::client::{After, Client, Origin};
use crate::orders::Ending;
use crate::serve;
use crate::stream::Stream;
use crate::thread::Thread;
use crate::watch::{State, Watch};
use bridge::Bridge;
use meter::{Meter, Metered, Sender};

pub(crate) use call::Call;
pub(crate) use single::{Answering, single};
pub(crate) use trunk::{Berth, NoStream, Trunks, Wanted};

/// What a client that knows that HTTP/2 is spoken here begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests that one connection may have open.
const STREAMS_MAX: u32 = 100;
/// The longest head, as HTTP/2 counts it.
const HEAD_BYTES_MAX: u32 = 32 * 1024;
/// How much of one request's body, and of all those of a connection, may be on its way: more
/// is not asked for before an endpoint has taken what is there.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of a response waits for its turn on the connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// How long the last words of a connection may take.
const FAREWELL: Duration = Duration::from_secs(2);

type Http2<'a, S> = Connection<Metered<&'a mut S>, Bytes>;

/// What the streams of a connection share.
#[derive(Debug)]
struct Shared {
    /// How many are open.
    open: Local<u32>,
    meter: Rc<Meter>,
}

/// One stream's place among those that are open.
#[derive(Debug)]
struct Open(Rc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}

/// Serves a connection of which `read` was read already.
pub(crate) async fn serve<S: Stream>(mut client: Client<S>, read: Vec<u8>) {
    let origin = client.origin();
    let (thread, watch) = (Rc::clone(&client.thread), &client.watch);
    watch.set_state(State::Busy);
    watch.set_deadline_in(thread.settings.head_timeout);
    let meter = Rc::new(Meter::new(Sender::Client, thread.watches.coarse_micros()));
    let io = Metered::new(
        &mut client.stream,
        read,
        (Rc::clone(&meter), Rc::clone(&thread.watches)),
    );
    let Some(connection) = greet(&thread, watch, io).await else {
        return;
    };
    let mut serving = Serving {
        thread: &thread,
        watch,
        origin,
        connection,
        shared: Rc::new(Shared {
            open: Local::new(0),
            meter,
        }),
        leaving: Leaving::No,
    };
    let closed = poll_fn(|context| serving.poll(context)).await;
    if let Some(closed) = closed {
        thread.writer.closed(closed);
    }
    serving.end().await;
}

/// Exchanges settings; `None` if that fails or takes too long.
async fn greet<'a, S: Stream>(
    thread: &Thread,
    watch: &Watch,
    io: Metered<&'a mut S>,
) -> Option<Http2<'a, S>> {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .enable_connect_protocol();
    let mut greeting = std::pin::pin!(builder.handshake::<_, Bytes>(io));
    poll_fn(|context| match greeting.as_mut().poll(context) {
        Poll::Ready(greeted) => Poll::Ready(greeted.ok()),
        Poll::Pending if watch.is_overdue() => {
            thread.writer.closed(Closed::Silent);
            Poll::Ready(None)
        }
        Poll::Pending => Poll::Pending,
    })
    .await
}

/// Whether the client was told to begin no more streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It was, and what it has open goes on.
    Told,
}

/// A connection after its greeting.
struct Serving<'a, S: Stream> {
    thread: &'a Rc<Thread>,
    watch: &'a Watch,
    origin: Origin,
    connection: Http2<'a, S>,
    shared: Rc<Shared>,
    leaving: Leaving,
}

impl<S: Stream> Serving<'_, S> {
    /// Accepts streams until the connection ends. The answer says how to count the end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Closed>> {
        loop {
            let accepted = self.connection.poll_accept(context);
            if let Some(flood) = self.shared.meter.flood() {
                self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                return Poll::Ready(Some(flood));
            }
            match accepted {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.begin(request, respond);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(reason(&error)),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return self.poll_unasked(),
            }
        }
    }

    /// Tells the client to go when its time has come, and goes when it does not.
    fn poll_unasked(&mut self) -> Poll<Option<Closed>> {
        let is_idle = self.shared.open.get() == 0;
        match (is_idle, self.watch.state()) {
            (true, State::Busy) => {
                self.watch.set_state(State::Idle);
                self.watch.set_deadline_in(self.patience());
            }
            (false, State::Idle) => {
                self.watch.set_state(State::Busy);
                self.watch.clear_deadline();
            }
            _ => {}
        }
        let is_late = is_idle && self.watch.is_overdue();
        let reason = if self.thread.ending() > Ending::Serving {
            Closed::Ending
        } else if self.watch.leaves() {
            Closed::Room
        } else if is_late {
            Closed::Idle
        } else {
            return Poll::Pending;
        };
        match self.leaving {
            Leaving::No => {
                self.leaving = Leaving::Told;
                self.connection.graceful_shutdown();
                if is_idle {
                    self.watch.set_deadline_in(FAREWELL);
                }
                self.watch.wake_now();
                Poll::Pending
            }
            Leaving::Told if is_late => Poll::Ready(Some(reason)),
            Leaving::Told => Poll::Pending,
        }
    }

    fn patience(&self) -> Duration {
        match self.leaving {
            Leaving::No => self.thread.settings.idle_timeout,
            Leaving::Told => FAREWELL,
        }
    }

    fn begin(
        &mut self,
        request: http::Request<RecvStream>,
        respond: h2::server::SendResponse<Bytes>,
    ) {
        self.shared.open.set(self.shared.open.get() + 1);
        let open = Open(Rc::clone(&self.shared));
        let key = (self.thread.random(), self.thread.random());
        let bridge = Bridge::new(request, respond, key);
        let client = Client::of_stream(&self.origin, bridge);
        // Apart, since the runtime moves a task several times and this is a large one.
        let serving = Box::pin(serve::serve_stream(client));
        tokio::task::spawn_local(async move {
            if let After::Answered(_) = serving.await {
                open.0.meter.refund();
            }
            drop(open);
        });
    }

    /// Writes what is left to write, for a while.
    async fn end(mut self) {
        self.watch.set_state(State::Busy);
        self.watch.set_deadline_in(FAREWELL);
        poll_fn(|context| match self.connection.poll_closed(context) {
            Poll::Pending if !self.watch.is_overdue() => Poll::Pending,
            Poll::Pending | Poll::Ready(_) => Poll::Ready(()),
        })
        .await;
    }
}

/// How a connection that h2 gave up is counted.
fn reason(error: &h2::Error) -> Option<Closed> {
    tracing::debug!(%error, "a connection of HTTP/2 ends");
    match error.reason() {
        Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => Some(Closed::Flood),
        Some(Reason::NO_ERROR) | None => None,
        Some(_) if error.is_remote() => None,
        Some(_) => Some(Closed::Protocol),
    }
}
