//! Connections to endpoints that speak HTTP/2: each carries many requests of its thread.
//!
//! A request takes a berth before it is sent, so that no connection is asked for more streams
//! than its endpoint allows, and the request knows whether the connection was made for it.

use std::cell::{Cell as Local, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::Request;
use http1::Method;
use tls::Trust;
use tokio::net::TcpStream;
use traffic::Cell;

use super::meter::{Meter, Metered, Sender};
use crate::clock::{micros, now_micros};
use crate::pool::{IDLE_TIME, Place, connect, poll_connected};
use crate::thread::Thread;
use crate::upstream::note_not_secured;
use crate::watch::Watches;
use crate::wire::{Wire, is_same, secure};

/// Requests that one connection carries at a time, if its endpoint allows as many.
const STREAMS_MAX: u32 = 100;
/// How much of one response may be on its way. There is room for as much of every stream, so
/// that a client that reads slowly holds up nobody but itself.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX;
/// How much of a request waits for its turn on the connection.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// The longest head, as HTTP/2 counts it.
const HEAD_BYTES_MAX: u32 = 32 * 1024;

type Http2 = Connection<Metered<Wire>, Bytes>;

/// One connection.
#[derive(Debug)]
struct Trunk {
    place: Place,
    /// What its endpoint must prove.
    trust: Option<Arc<Trust>>,
    begun_micros: u64,
    stage: RefCell<Stage>,
    /// Berths that are taken.
    taken: Local<u32>,
    /// Those of them that have a stream, or may have one.
    open: Local<u32>,
    /// When the endpoint was last heard of.
    alive_micros: Local<u64>,
    /// Whether nobody takes a berth any more: it ends with the last one.
    is_leaving: Local<bool>,
    /// Whether the endpoint did not prove what it must.
    is_not_secured: Local<bool>,
    /// Whether it ended because the endpoint broke the rules.
    is_garbled: Local<bool>,
    waiting: RefCell<Vec<Waker>>,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    Open(SendRequest<Bytes>),
    Closed,
}

/// What a request needs of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) place: Place,
    /// What its endpoint has proven, if it must.
    pub(crate) trust: Option<Arc<Trust>>,
    pub(crate) method: Method,
    /// Only a connection that was begun no earlier will do.
    pub(crate) since_micros: u64,
}

impl Trunk {
    /// True if a request may take a berth.
    fn may_carry(&self, wanted: &Wanted, now_micros: u64) -> bool {
        if self.is_leaving.get()
            || self.place != wanted.place
            || !is_same(self.trust.as_ref(), wanted.trust.as_ref())
            || self.begun_micros < wanted.since_micros
        {
            return false;
        }
        let idle = Duration::from_micros(now_micros.saturating_sub(self.alive_micros.get()));
        match &mut *self.stage.borrow_mut() {
            Stage::Connecting => self.taken.get() < STREAMS_MAX,
            Stage::Open(send) => {
                let mut context = Context::from_waker(Waker::noop());
                self.taken.get() < streams_max(send)
                    && http1::may_use_idle(wanted.method, idle)
                    && matches!(send.poll_ready(&mut context), Poll::Ready(Ok(())))
            }
            Stage::Closed => false,
        }
    }

    /// Carries its streams; ready once it has ended.
    fn poll(
        &self,
        context: &mut Context<'_>,
        (connection, meter): (&mut Http2, &Meter),
    ) -> Poll<()> {
        let polled = Pin::new(connection).poll(context);
        let address = self.place.address;
        if let Some(flood) = meter.flood() {
            self.is_garbled.set(true);
            let flood = flood.name();
            tracing::warn!(%address, flood, "a connection to an endpoint is given up");
            return Poll::Ready(());
        }
        polled.map(|ended| {
            if let Err(error) = ended {
                self.is_garbled.set(error.is_library());
                tracing::debug!(%address, %error, "a connection of HTTP/2 to an endpoint ends");
            }
        })
    }

    fn set_stage(&self, stage: Stage) {
        *self.stage.borrow_mut() = stage;
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    fn wait(&self, context: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|one| one.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
    }

    /// Takes no more requests, and ends once it has none.
    fn leave(&self) {
        self.is_leaving.set(true);
        if self.taken.get() == 0 {
            // The connection says goodbye when nobody can begin a stream any more.
            self.set_stage(Stage::Closed);
        }
    }

    fn is_idle_since(&self, oldest_micros: u64) -> bool {
        self.taken.get() == 0 && self.alive_micros.get() < oldest_micros
    }
}

/// How many streams its endpoint allows, and we use.
fn streams_max(send: &SendRequest<Bytes>) -> u32 {
    let allowed = u32::try_from(send.current_max_send_streams());
    allowed.unwrap_or(u32::MAX).min(STREAMS_MAX)
}

/// The connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Trunks {
    cells: RefCell<BTreeMap<Cell, Vec<Rc<Trunk>>>>,
    len: Local<u32>,
}

impl Trunks {
    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.get()
    }

    /// Takes a berth on a connection that can carry the request; without one, on a new
    /// connection, which may take `patience` to be made.
    pub(crate) fn take(&self, thread: &Rc<Thread>, wanted: &Wanted, patience: Duration) -> Berth {
        let now = now_micros();
        let mut cells = self.cells.borrow_mut();
        let trunks = cells.entry(wanted.place.cell).or_default();
        let able = trunks.iter().find(|trunk| trunk.may_carry(wanted, now));
        if let Some(trunk) = able {
            return Berth::new(thread, trunk);
        }
        let trunk = Rc::new(Trunk {
            place: wanted.place,
            trust: wanted.trust.clone(),
            begun_micros: now,
            stage: RefCell::new(Stage::Connecting),
            taken: Local::new(0),
            open: Local::new(0),
            alive_micros: Local::new(now),
            is_leaving: Local::new(false),
            is_not_secured: Local::new(false),
            is_garbled: Local::new(false),
            waiting: RefCell::default(),
        });
        // Nobody has to find out whether one that nobody uses still stands.
        let unused = trunks.iter().filter(|trunk| trunk.taken.get() == 0);
        unused.for_each(|trunk| trunk.leave());
        trunks.push(Rc::clone(&trunk));
        self.len.set(self.len.get() + 1);
        let berth = Berth::new(thread, &trunk);
        tokio::task::spawn_local(carry(Rc::clone(thread), trunk, patience));
        berth
    }

    /// Has the connections to every endpoint that is not kept take no more requests.
    pub(crate) fn retain(&self, is_kept: impl Fn(Cell) -> bool) {
        self.leave(|trunk| !is_kept(trunk.place.cell));
    }

    /// Closes what nobody has used for long.
    pub(crate) fn sweep(&self, now_micros: u64) {
        let oldest = now_micros.saturating_sub(micros(IDLE_TIME));
        self.leave(|trunk| trunk.is_idle_since(oldest));
    }

    /// Closes what nobody uses at the moment. False if there was nothing.
    pub(crate) fn shrink(&self) -> bool {
        let mut is_any = false;
        self.leave(|trunk| {
            let is_unused = trunk.taken.get() == 0;
            is_any |= is_unused;
            is_unused
        });
        is_any
    }

    fn leave(&self, mut leaves: impl FnMut(&Trunk) -> bool) {
        let cells = self.cells.borrow();
        let trunks = cells.values().flatten();
        trunks
            .filter(|trunk| leaves(trunk))
            .for_each(|trunk| trunk.leave());
    }

    fn remove(&self, gone: &Rc<Trunk>) {
        let mut cells = self.cells.borrow_mut();
        let Some(trunks) = cells.get_mut(&gone.place.cell) else {
            return;
        };
        trunks.retain(|trunk| !Rc::ptr_eq(trunk, gone));
        if trunks.is_empty() {
            cells.remove(&gone.place.cell);
        }
        self.len.set(self.len.get() - 1);
    }
}

/// A request's place on a connection, given back when dropped.
#[derive(Debug)]
pub(crate) struct Berth {
    thread: Rc<Thread>,
    trunk: Rc<Trunk>,
    is_reused: bool,
    is_open: bool,
}

/// Why a berth has no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoStream {
    /// The endpoint allows fewer than berths were taken.
    Full,
    /// There is no connection.
    Failed,
    /// The endpoint does not prove what it must.
    NotSecured,
}

impl Berth {
    fn new(thread: &Rc<Thread>, trunk: &Rc<Trunk>) -> Self {
        trunk.taken.set(trunk.taken.get() + 1);
        Self {
            thread: Rc::clone(thread),
            trunk: Rc::clone(trunk),
            is_reused: matches!(&*trunk.stage.borrow(), Stage::Open(_)),
            is_open: false,
        }
    }

    /// True if the connection stood before the berth was taken.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// What its requests' URLs begin with.
    pub(super) fn scheme(&self) -> &'static str {
        match self.trunk.place.protocol.is_secured() {
            true => "https",
            false => "http",
        }
    }

    /// Ready once a stream can be begun.
    pub(crate) fn poll_open(&mut self, context: &Context<'_>) -> Poll<Result<(), NoStream>> {
        let trunk = &self.trunk;
        match &*trunk.stage.borrow() {
            Stage::Connecting => {
                trunk.wait(context);
                Poll::Pending
            }
            Stage::Open(send) if trunk.open.get() < streams_max(send) => {
                trunk.open.set(trunk.open.get() + 1);
                self.is_open = true;
                Poll::Ready(Ok(()))
            }
            Stage::Open(_) => Poll::Ready(Err(NoStream::Full)),
            Stage::Closed if trunk.is_not_secured.get() => Poll::Ready(Err(NoStream::NotSecured)),
            Stage::Closed => Poll::Ready(Err(NoStream::Failed)),
        }
    }

    /// True while the endpoint has not proven what it must, although it was asked.
    pub(crate) fn is_not_secured(&self) -> bool {
        self.trunk.is_not_secured.get()
    }

    /// True if the connection ended because its endpoint broke the rules.
    pub(super) fn is_garbled(&self) -> bool {
        self.trunk.is_garbled.get()
    }

    /// True if its endpoint has said that it knows WebSockets.
    pub(super) fn takes_websockets(&self) -> bool {
        match &*self.trunk.stage.borrow() {
            Stage::Open(send) => send.is_extended_connect_protocol_enabled(),
            Stage::Connecting | Stage::Closed => false,
        }
    }

    /// Begins the stream.
    pub(super) fn send(
        &self,
        request: Request<()>,
        is_over: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        match &mut *self.trunk.stage.borrow_mut() {
            Stage::Open(send) => send.send_request(request, is_over),
            Stage::Connecting | Stage::Closed => Err(h2::Reason::REFUSED_STREAM.into()),
        }
    }

    /// Notes that the endpoint was heard of.
    pub(super) fn note_alive(&self) {
        self.trunk.alive_micros.set(now_micros());
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        let trunk = &self.trunk;
        trunk.taken.set(trunk.taken.get() - 1);
        if self.is_open {
            trunk.open.set(trunk.open.get() - 1);
        }
        let cell = trunk.place.cell;
        let is_last = trunk.taken.get() == 0;
        if is_last
            && (trunk.is_leaving.get() || !self.thread.with_routing(|routing| routing.has(cell)))
        {
            trunk.leave();
        }
    }
}

/// Makes a connection and carries its streams to its end.
async fn carry(thread: Rc<Thread>, trunk: Rc<Trunk>, patience: Duration) {
    let meter = Meter::new(Sender::Program, thread.watches.coarse_micros());
    let meter = (Rc::new(meter), Rc::clone(&thread.watches));
    let opened = tokio::time::timeout(patience, open(&trunk, meter.clone())).await;
    if let Ok(Some(mut connection)) = opened {
        // Its streams end with it, and look then why.
        poll_fn(|context| trunk.poll(context, (&mut connection, &meter.0))).await;
    }
    trunk.is_leaving.set(true);
    trunk.set_stage(Stage::Closed);
    thread.trunks.remove(&trunk);
}

/// Makes a connection; `None` if that fails.
async fn open(trunk: &Trunk, meter: (Rc<Meter>, Rc<Watches>)) -> Option<Http2> {
    let stream = connect(trunk.place.address).ok()?;
    poll_fn(|context| poll_connected(context, &stream))
        .await
        .ok()?;
    let stream = secured(trunk, stream).await?;
    let stream = Metered::new(stream, Vec::new(), meter);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        // Until the endpoint has said how many: so nothing is sent to one that does not speak
        // HTTP/2.
        .initial_max_send_streams(0)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    let (send, mut connection) = builder.handshake(stream).await.ok()?;
    poll_fn(|context| {
        let polled = Pin::new(&mut connection).poll(context);
        match polled {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if connection.max_concurrent_send_streams() > 0 => Poll::Ready(Some(())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    trunk.set_stage(Stage::Open(send));
    Some(connection)
}

/// Secures a connection where its endpoint speaks over TLS; `None` if that fails.
async fn secured(trunk: &Trunk, stream: TcpStream) -> Option<Wire> {
    let Some(trust) = &trunk.trust else {
        return Some(Wire::Plain(stream));
    };
    // Until it has, it has not: also when its time is over.
    trunk.is_not_secured.set(true);
    let place = trunk.place;
    let secured = Box::pin(secure(stream, (Arc::clone(trust), place.protocol))).await;
    match secured {
        Ok(wire) => {
            trunk.is_not_secured.set(false);
            Some(wire)
        }
        Err(error) => {
            note_not_secured(place, &error);
            None
        }
    }
}
