//! One proxy thread: its runtime and what its tasks share.

use std::cell::{Cell as Local, RefCell};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http1::Persist;
use ledger::Writer;
use tls::Trust;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::Notify;
use traffic::ListenerKind;
use traffic::{Cell, Hedging, RetryBudget, Standings};

use crate::accept::Listeners;
use crate::access::Access;
use crate::buffer::Blocks;
use crate::clock::now_micros;
use crate::crowds::Crowds;
use crate::doors::Doors;
use crate::exchange::Exchange;
use crate::http2::Trunks;
use crate::keeper::Tls;
use crate::links::{Link, Links};
use crate::memory::Crowd;
use crate::orders::{Ending, Listening, OrderBox, Orders};
use crate::pool::{Place, Pool};
use crate::queue::{Heads, Queues};
use crate::room::Room;
use crate::routing::Routing;
use crate::shadow::Shadows;
use crate::start::{Settings, ThreadSetup};
use crate::tcp::Pipes;
use crate::watch::{State, TICK, Watches};
use crate::wire::Wire;

const FREE_EXCHANGES_MAX: usize = 256;
/// Every how many ticks idle connections and memory are looked through.
const SWEEP_TICKS: u32 = 10;
/// How often a thread ticks to which nobody has been connected for that many ticks: there is
/// nobody whose time could be over.
const REST: Duration = Duration::from_secs(1);

/// What a thread is given beside its sockets.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) settings: Settings,
    pub(crate) room: Room,
    pub(crate) crowds: Arc<Crowds>,
    pub(crate) links: Arc<Links>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) access: Access,
    pub(crate) shadows: Shadows,
}

/// What the tasks of a thread share.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) writer: Writer,
    pub(crate) settings: Settings,
    pub(crate) room: Room,
    pub(crate) crowds: Arc<Crowds>,
    pub(crate) links: Arc<Links>,
    pub(crate) queues: Queues,
    pub(crate) access: Access,
    pub(crate) shadows: Shadows,
    pub(crate) watches: Rc<Watches>,
    pub(crate) blocks: Blocks,
    pub(crate) pool: Pool,
    pub(crate) pipes: Pipes,
    pub(crate) trunks: Trunks,
    /// Wakes the thread's main task when a connection ends.
    pub(crate) ended: Notify,
    connections: Local<u32>,
    /// Set while ticks are rare, and what makes them frequent again.
    rests: Local<bool>,
    roused: Notify,
    crowd: Crowd,
    /// Requests that are at an endpoint.
    pub(crate) claims: Local<u32>,
    /// Connections that are being told why they are closed.
    pub(crate) told: Local<u32>,
    /// How often a connection was accepted, or could not be for want of a descriptor.
    arrivals: Local<u64>,
    #[expect(
        clippy::vec_box,
        reason = "an exchange goes in and out for each request and is too large to be copied"
    )]
    exchanges: RefCell<Vec<Box<Exchange>>>,
    routing: RefCell<Arc<Routing>>,
    tls: RefCell<Tls>,
    pub(crate) standings: RefCell<Standings>,
    /// By the cells of their services.
    pub(crate) budgets: RefCell<BTreeMap<Cell, RetryBudget>>,
    /// The same for second attempts beside a first one.
    pub(crate) hedgings: RefCell<BTreeMap<Cell, Hedging>>,
    /// How many tables were applied.
    applied: Local<u64>,
    ending: Local<Ending>,
    random: Local<u64>,
}

impl Thread {
    fn new(number: usize, writer: Writer, given: Given) -> Self {
        Self {
            writer,
            settings: given.settings,
            room: given.room,
            crowds: given.crowds,
            links: given.links,
            queues: Queues::new(given.heads, number),
            access: given.access,
            shadows: given.shadows,
            watches: Rc::default(),
            blocks: Blocks::default(),
            pool: Pool::default(),
            pipes: Pipes::default(),
            trunks: Trunks::default(),
            ended: Notify::new(),
            connections: Local::new(0),
            rests: Local::new(false),
            roused: Notify::new(),
            crowd: Crowd::default(),
            claims: Local::new(0),
            told: Local::new(0),
            arrivals: Local::new(0),
            exchanges: RefCell::default(),
            routing: RefCell::default(),
            tls: RefCell::default(),
            standings: RefCell::default(),
            budgets: RefCell::default(),
            hedgings: RefCell::default(),
            applied: Local::new(0),
            ending: Local::default(),
            random: Local::new(RandomState::new().build_hasher().finish()),
        }
    }

    /// Looks at the table in force.
    pub(crate) fn with_routing<T>(&self, look: impl FnOnce(&Routing) -> T) -> T {
        look(&self.routing.borrow())
    }

    /// What connections are secured with at the moment.
    pub(crate) fn doors(&self) -> Arc<Doors> {
        Arc::clone(&self.tls.borrow().doors)
    }

    /// What an endpoint that speaks over TLS must prove; `None`: nothing can be proven.
    pub(crate) fn trust(&self, cell: Cell) -> Option<Arc<Trust>> {
        self.tls.borrow().programs.get(&cell).cloned()
    }

    /// How many tables were applied so far.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.get()
    }

    pub(crate) fn ending(&self) -> Ending {
        self.ending.get()
    }

    /// What we wish for a client's connection.
    pub(crate) fn wish(&self) -> Persist {
        match self.ending.get() {
            Ending::Serving => Persist::KeepAlive,
            Ending::Leaving | Ending::Draining | Ending::Closing | Ending::Now => Persist::Close,
        }
    }

    /// A random number. Nothing that must stay secret depends on it.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn take_exchange(&self) -> Box<Exchange> {
        self.exchanges.borrow_mut().pop().unwrap_or_default()
    }

    pub(crate) fn give_back_exchange(&self, mut exchange: Box<Exchange>) {
        exchange.empty(&self.blocks);
        let mut free = self.exchanges.borrow_mut();
        if free.len() < FREE_EXCHANGES_MAX {
            free.push(exchange);
        }
    }

    /// Frees half of the memory that nobody needs at the moment, and all that a crowd left.
    fn shrink(&self) {
        self.blocks.shrink();
        self.pipes.shrink();
        let mut free = self.exchanges.borrow_mut();
        let half = free.len() / 2;
        free.truncate(half);
        drop(free);
        self.crowd.note(self.connections.get());
    }

    /// Keeps an upstream connection for later, if its endpoint may still get requests.
    /// One that others wait for is closed.
    pub(crate) fn keep_upstream(&self, place: Place, link: Link<Wire>, now: u64) {
        let is_awaited = |service| self.queues.is_awaited_elsewhere(service);
        if link
            .seat
            .as_ref()
            .is_some_and(|seat| is_awaited(seat.service))
        {
            return;
        }
        if self.with_routing(|routing| routing.has(place.cell)) {
            self.pool.put(place, link, now);
        }
    }

    /// How many client connections there are.
    pub(crate) fn connections(&self) -> u32 {
        self.connections.get()
    }

    pub(crate) fn connection_begins(&self) {
        self.connections.set(self.connections.get() + 1);
        self.writer.connection_begins();
        if self.rests.replace(false) {
            // Deadlines count from the last tick, which is long ago.
            self.watches.tick();
            self.roused.notify_one();
        }
    }

    pub(crate) fn connection_ends(&self) {
        self.connections.set(self.connections.get() - 1);
        self.writer.connection_ends();
        if self.connections.get() == 0 {
            self.ended.notify_one();
        }
    }

    /// Follows a table from here on, and says so.
    fn apply(&self, routing: Arc<Routing>) {
        let revision = routing.revision();
        if revision < self.routing.borrow().revision() {
            return;
        }
        self.pool.retain(|cell| routing.has(cell));
        self.trunks.retain(|cell| routing.has(cell));
        self.watches.stay(|cell| routing.has(cell));
        self.access.set(routing.table.access_log);
        self.standings
            .borrow_mut()
            .follow(&routing.table, now_micros());
        *self.routing.borrow_mut() = routing;
        self.applied.set(self.applied.get() + 1);
        self.watches.wake(|state| state == State::Waiting);
        self.writer.confirm(revision);
    }

    /// Does what is to be done often.
    fn tick(&self) {
        self.watches.tick();
        self.writer.beat(self.watches.coarse_micros());
        self.access.flush();
        self.call_firsts(|_| true);
    }

    /// Looks through what is kept, and frees what nobody needs.
    fn sweep(&self) {
        let now = self.watches.coarse_micros();
        self.pool.sweep(now);
        self.trunks.sweep(now);
        self.watches.wake(|state| state == State::Waiting);
        self.shrink();
    }

    /// Waits for a while, or until somebody connects.
    async fn rest(&self) {
        self.rests.set(true);
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = self.roused.notified() => {}
        }
        self.rests.set(false);
    }

    /// Notes that a connection came, whether or not it could be accepted.
    pub(crate) fn arrival(&self) {
        self.arrivals.set(self.arrivals.get() + 1);
    }

    /// How many connections came.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.get()
    }

    /// Ends as far as this, or goes on ending further.
    pub(crate) fn end(&self, ending: Ending) {
        if ending > self.ending.get() {
            self.ending.set(ending);
            self.ended.notify_one();
            // Also those with requests: some tell their clients at once.
            self.watches.wake(|_| true);
        }
    }

    fn is_over(&self) -> bool {
        match self.ending.get() {
            Ending::Serving | Ending::Leaving => false,
            Ending::Draining | Ending::Closing => self.connections.get() == 0,
            Ending::Now => true,
        }
    }
}

/// Starts a thread, and returns once its runtime stands.
pub(crate) fn spawn(
    number: usize,
    setup: ThreadSetup,
    given: Given,
    orders: Arc<OrderBox>,
) -> io::Result<JoinHandle<()>> {
    let (stands, heard) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("proxy-{number}"));
    let handle = thread.spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let (runtime, said) = match runtime {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let is_heard = stands.send(said).is_ok();
        if let (Some(runtime), true) = (runtime, is_heard) {
            run(
                runtime,
                Thread::new(number, setup.writer, given),
                setup.listeners,
                &orders,
            );
        }
    })?;
    heard.recv().map_err(io::Error::other)??;
    Ok(handle)
}

fn run(
    runtime: LocalRuntime,
    thread: Thread,
    listeners: Vec<(SocketAddr, OwnedFd)>,
    orders: &OrderBox,
) {
    let thread = Rc::new(thread);
    runtime.block_on(follow(&thread, listeners, orders));
    // Tasks that are left end with the runtime; what they had open is counted as cut.
    drop(runtime);
    thread.access.flush();
}

/// Follows orders until they say to end.
async fn follow(thread: &Rc<Thread>, sockets: Vec<(SocketAddr, OwnedFd)>, orders: &OrderBox) {
    thread.watches.tick();
    thread.writer.beat(now_micros());
    // It looks at every idle connection at once, however many there are.
    let ticking = tokio::task::unconstrained(tick(Rc::clone(thread)));
    let ticking = tokio::task::spawn_local(ticking);
    let mut listeners = Listeners::new(Rc::clone(thread));
    for (address, socket) in sockets {
        listeners.add((address, ListenerKind::Http), socket);
    }
    while !thread.is_over() {
        tokio::select! {
            taken = orders.take() => obey(thread, &mut listeners, taken),
            () = thread.ended.notified() => {}
        }
        if thread.ending() >= Ending::Draining {
            listeners.remove_all();
        }
    }
    ticking.abort();
}

fn obey(thread: &Thread, listeners: &mut Listeners, orders: Orders) {
    for change in orders.listening {
        match change {
            Listening::Add(address, socket) => listeners.add(address, socket),
            Listening::Remove(address) => listeners.remove(address),
        }
    }
    if let Some(tls) = orders.tls {
        *thread.tls.borrow_mut() = tls;
        thread.watches.wake(|state| state == State::Waiting);
    }
    if let Some(routing) = orders.routing {
        thread.apply(routing);
    }
    orders
        .cut
        .into_iter()
        .for_each(|cell| thread.watches.cut(cell));
    for (cell, left) in orders.parting {
        thread.watches.part(cell, left, || thread.random());
    }
    if let Some(limit) = orders.leaving {
        thread.watches.part_all(limit, || thread.random());
    }
    for service in orders.freed {
        thread.call_firsts(|line| line.service == service);
    }
    orders.shed.into_iter().for_each(|cell| thread.shed(cell));
    if orders.ending == Ending::Leaving {
        listeners.leave();
    }
    thread.end(orders.ending);
}

async fn tick(thread: Rc<Thread>) {
    let (mut until_sweep, mut alone) = (0, 0);
    loop {
        thread.tick();
        if until_sweep == 0 {
            thread.sweep();
            until_sweep = SWEEP_TICKS;
        }
        alone = match thread.connections() {
            0 => alone + 1,
            _ => 0,
        };
        if alone < SWEEP_TICKS {
            tokio::time::sleep(TICK).await;
            until_sweep -= 1;
        } else {
            thread.rest().await;
            (until_sweep, alone) = (0, SWEEP_TICKS - 1);
        }
    }
}
