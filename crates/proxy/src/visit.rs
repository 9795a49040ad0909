//! One request's way to an endpoint: its service, its user, the endpoints it was tried at.

mod closed;
mod hedged;
mod held;
mod queued;
mod timed;

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http1::{
    ClientSide, Framing, IntroductionVersion, Method, Persist, RequestHead, RewriteRequest, Version,
};
use model::{
    Affinity, Balancing, HashKey, Maintenance, ProxyLimits, ProxyProtocol, ReleaseId, Revision,
    Share,
};
use traffic::{
    Ask, AudienceRule, BodyHeld, COOKIE, Cell, Choice, Chosen, CookieId, Deadlines, FailedAttempt,
    ListenerKind, Progress, Rejected, ServiceTable,
};

use crate::access::{Account, By, Line, Stage, Termination};
use crate::caller::{Caller, Fields};
use crate::claim::{Claim, Waiting};
use crate::client::Client;
use crate::clock::{now_micros, wall_micros};
use crate::exchange::Exchange;
use crate::flow::Hold;
use crate::orders::Ending;
use crate::pool::Place;
use crate::presence::Asking;
use crate::routing::Routing;
use crate::shadow::Drawn;
use crate::stream::Stream;
use crate::thread::Thread;
pub(crate) use hedged::Slowness;
use held::PauseHold;
use queued::{Full, Turn};

/// What is known of a request beside its head.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) arrived_micros: u64,
    pub(crate) client_side: ClientSide,
    pub(crate) caller: Caller,
    pub(crate) method: Method,
    pub(crate) limits: ProxyLimits,
    /// How connections to the program begin.
    pub(crate) proxy_protocol: Option<IntroductionVersion>,
    /// What a new connection to an endpoint begins with, before all else.
    pub(crate) introduction: Vec<u8>,
    /// The id that the response gives to the client.
    pub(crate) new_cookie: Option<CookieId>,
    pub(crate) service: Option<Cell>,
    /// What the access log will say.
    pub(crate) account: Account,
    /// How long browsers are told to use nothing but HTTPS.
    pub(crate) hsts: Option<Duration>,
    /// The port that a redirected request is sent to.
    pub(crate) https_port: u16,
    /// Whether and how the request is copied.
    pub(crate) drawn: Option<Drawn>,
    cookie: Option<CookieId>,
    kept: Option<ReleaseId>,
    attempts: u8,
    retry_budget: Share,
    /// Whether the time that an endpoint takes is noted, and since when it runs.
    is_measured: bool,
    claimed_micros: u64,
    /// Endpoints that failed the request, as far as they and not an old connection did.
    failed: Vec<Cell>,
    is_moved_back: bool,
    pause: PauseHold,
    turn: Turn,
    pub(crate) deadlines: Deadlines,
    pub(crate) slowness: Slowness,
    /// The only release that will do for a second attempt beside the first.
    only: Option<ReleaseId>,
    /// Where it is open already, while another place is looked for.
    pub(crate) at: Option<Cell>,
    /// How many connections its endpoint may have.
    pub(crate) connections_max: Option<u32>,
    /// What a closed service has to say.
    closed: Option<Box<Maintenance>>,
}

/// Where a request may go.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Here: it is open there from now on.
    Claimed(Claim),
    /// Nowhere yet: no endpoint is ready.
    Wait,
    /// Nowhere yet: all endpoints of its release are full.
    Full(Full),
    /// Nowhere yet: the service is paused until then.
    Hold(u64),
    /// Nowhere.
    Never(Rejected),
}

/// What a request waits for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// A ready endpoint.
    Endpoint,
    /// A place at one that is full.
    Place(Full),
    /// The end of a pause, at this time.
    PauseEnd(u64),
}

/// How a wait for an endpoint ended without one.
#[derive(Debug)]
pub(crate) enum Turned {
    /// The client left.
    Gone,
    /// It is answered by us.
    Away(Rejected),
}

impl Visit {
    pub(crate) fn new<S: Stream>(
        client: &Client<S>,
        request: &RequestHead,
        arrived_micros: u64,
    ) -> Self {
        Self {
            arrived_micros,
            client_side: ClientSide::new(request),
            caller: Caller::new(client, request),
            method: request.method(),
            limits: ProxyLimits::default(),
            proxy_protocol: None,
            introduction: Vec::new(),
            new_cookie: None,
            service: None,
            account: Account::default(),
            hsts: None,
            https_port: 0,
            drawn: None,
            cookie: None,
            kept: None,
            attempts: 0,
            retry_budget: Share::NONE,
            is_measured: false,
            claimed_micros: 0,
            failed: Vec::new(),
            is_moved_back: false,
            pause: PauseHold::default(),
            turn: Turn::default(),
            deadlines: Deadlines::default(),
            slowness: Slowness::default(),
            only: None,
            at: None,
            connections_max: None,
            closed: None,
        }
    }

    /// How the request's head is written. A connection that is introduced as one client's
    /// carries nothing else.
    pub(crate) fn rewrite<'a, S: Stream>(
        &'a self,
        client: &'a Client<S>,
        fields: &'a Fields<'a>,
    ) -> RewriteRequest<'a> {
        let persist = match self.proxy_protocol {
            Some(_) => Persist::Close,
            None => Persist::KeepAlive,
        };
        self.caller.rewrite(client, (fields, persist))
    }

    /// True for the first attempt: later ones use a connection made for them.
    pub(crate) fn may_use_idle(&self) -> bool {
        self.attempts == 1 && self.proxy_protocol.is_none()
    }

    /// Notes that an endpoint failed the request on a connection made for it.
    pub(crate) fn note_failed(&mut self, cell: Cell) {
        self.failed.push(cell);
    }

    /// Has all endpoints tried once more.
    pub(crate) fn forget_failed(&mut self) {
        self.failed.clear();
    }

    /// True if a failed attempt may be made again somewhere.
    pub(crate) fn may_repeat(&self, thread: &Thread, progress: Progress, hold: Hold) -> bool {
        let attempt = FailedAttempt {
            number: self.attempts,
            progress,
            idempotent: self.method.is_idempotent(),
            body: match hold {
                Hold::Everything => BodyHeld::Whole,
                Hold::Nothing => BodyHeld::Gone,
            },
        };
        let may_spend = |service| thread.may_spend(service, self.retry_budget);
        attempt.may_repeat() && self.service.is_some_and(may_spend)
    }

    /// Notes how long the endpoint took, where that decides who gets the next request.
    pub(crate) fn measure(&self, thread: &Thread, cell: Cell, now_micros: u64) {
        if self.is_measured {
            let took = now_micros.saturating_sub(self.claimed_micros);
            thread
                .standings
                .borrow_mut()
                .measure(cell, took, now_micros);
        }
    }

    /// Matches the request with the table in force, and claims an endpoint, in one go.
    pub(crate) fn admit<S: Stream>(
        &mut self,
        client: &Client<S>,
        request: &RequestHead,
    ) -> Admission {
        let thread = &client.thread;
        thread.with_routing(|routing| {
            let host = request.hostname().unwrap_or_default();
            if client.is_misdirected(host) {
                return Admission::Never(Rejected::Misdirected);
            }
            let address = client.entrance.address;
            let Some(route) = routing.index.route(address, host, request.path()) else {
                return routing.without_route();
            };
            let service = &routing.table.services[route.service];
            if service.https.redirect && self.is_to_be_redirected(routing, address) {
                return Admission::Never(Rejected::Redirected);
            }
            let own = service.https.clients.as_ref();
            let is_own = own.is_some() && routing.kind(address) == Some(ListenerKind::Http);
            if !client.has_met((own.or(routing.table.clients.as_ref()), is_own)) {
                return Admission::Never(Rejected::Misdirected);
            }
            self.meet(thread, service, request);
            if self.is_too_large(request) {
                return Admission::Never(Rejected::BodyTooLarge);
            }
            if !thread.has_room_for_request() {
                return Admission::Never(Rejected::Connections);
            }
            if self.is_closed((service, route.only), request) {
                return Admission::Never(Rejected::Maintenance);
            }
            if let Some(until) = self.held_until(thread, (routing, service), route.only) {
                return Admission::Hold(until);
            }
            let peer = Address::of(self.caller.address);
            let ask = Ask {
                only: route.only.or(self.only),
                audience: is_audience(service, request),
                user: self.user(service, request, &peer),
                random: thread.random(),
                kept: self.kept,
                tried: &self.failed,
                hash: hash(service, request, &peer),
                now_micros: thread.watches.coarse_micros(),
            };
            let seen = self.seen::<S>(thread);
            let chosen = traffic::choose(service, &ask, &mut thread.standings.borrow_mut(), &seen);
            if let (Chosen::At(choice), 0, Ending::Serving) =
                (&chosen, self.attempts, thread.ending())
            {
                self.drawn = Drawn::new(thread, (service, choice.release), request);
            }
            self.claim(client, service, chosen)
        })
    }

    /// Claims what was chosen.
    fn claim<S: Stream>(
        &mut self,
        client: &Client<S>,
        service: &ServiceTable,
        chosen: Chosen<'_>,
    ) -> Admission {
        match (chosen, &service.delivery.limits) {
            (Chosen::At(choice), None) => {
                self.note_choice(&client.thread, &choice);
                let place = Place::of(choice.endpoint);
                let places = (service.cell, place);
                Admission::Claimed(Claim::new(&client.thread, &client.watch, places))
            }
            (Chosen::At(choice), Some(limits)) => {
                self.claim_limited(client, (service, &choice), limits)
            }
            (Chosen::Full(release), Some(limits)) => self.full((service, &release), limits),
            (Chosen::Full(..), None) | (Chosen::Nobody, _) => Admission::Wait,
        }
    }

    /// True for a request from outside in the clear, if there is a listener that it can be
    /// sent to.
    fn is_to_be_redirected(&mut self, routing: &Routing, address: SocketAddr) -> bool {
        let Some(port) = routing.https_port() else {
            return false;
        };
        self.https_port = port;
        routing.kind(address) == Some(ListenerKind::Http)
    }

    fn note_choice(&mut self, thread: &Thread, choice: &Choice<'_>) {
        self.attempts = self.attempts.saturating_add(1);
        self.claimed_micros = if self.is_measured { now_micros() } else { 0 };
        self.kept = Some(choice.release);
        if thread.access.is_on() {
            let serial = choice.endpoint.instance.serial;
            self.account.instance = Some((choice.release, serial));
            self.account.claimed_micros = now_micros();
        }
        if let (true, false, Some(service)) = (choice.moved_back, self.is_moved_back, self.service)
        {
            self.is_moved_back = true;
            thread.writer.moved_back(service);
        }
    }

    /// Counts the request for its service and works out who it comes from, once.
    fn meet(&mut self, thread: &Thread, service: &ServiceTable, request: &RequestHead) {
        if self.service.is_some() {
            return;
        }
        self.service = Some(service.cell);
        self.limits = service.limits.clone();
        self.hsts = service.https.hsts;
        self.proxy_protocol = service
            .delivery
            .proxy_protocol
            .map(|version| match version {
                ProxyProtocol::V1 => IntroductionVersion::V1,
                ProxyProtocol::V2 => IntroductionVersion::V2,
            });
        if let Some(deadline) = &service.delivery.deadline {
            self.give_time(deadline, request);
        }
        self.retry_budget = service.delivery.retry_budget;
        self.slowness.hedge = service.delivery.hedge;
        self.is_measured = service.delivery.balance == Balancing::PeakEwma;
        thread.note_request(service.cell);
        thread.writer.request(service.cell);
        if service.affinity == Some(Affinity::Cookie) {
            self.cookie = request.cookie(COOKIE).and_then(CookieId::read);
            if self.cookie.is_none() {
                let random = u128::from(thread.random()) << 64 | u128::from(thread.random());
                self.new_cookie = Some(CookieId::new(random));
                self.cookie = self.new_cookie;
            }
        }
    }

    fn user<'a>(
        &'a self,
        service: &ServiceTable,
        request: &'a RequestHead,
        address: &'a Address,
    ) -> Option<&'a [u8]> {
        match service.affinity.as_ref()? {
            Affinity::Cookie => self.cookie.as_ref().map(CookieId::as_bytes),
            Affinity::Header(name) => request.fields().first(name),
            Affinity::Client => Some(address.as_bytes()),
        }
    }

    /// Writes the line of the access log.
    pub(crate) fn note<S: Stream>(&self, client: &Client<S>, request: &RequestHead) {
        let thread = &client.thread;
        if !thread.access.is_on() {
            return;
        }
        let address = self.caller.address.to_string();
        thread.with_routing(|routing| {
            let services = &routing.table.services;
            let service = services
                .iter()
                .find(|service| Some(service.cell) == self.service);
            thread.access.note(&Line {
                client: address.as_bytes(),
                request_id: self.caller.request_id(request),
                host: request.host(),
                method: Some(request.method_name()).filter(|name| !name.is_empty()),
                path: request.path(),
                query: request.query(),
                protocol: S::PROTOCOL.unwrap_or(match request.version() {
                    Version::Http10 => "HTTP/1.0",
                    Version::Http11 => "HTTP/1.1",
                }),
                service: service.map(|service| service.name.as_str()),
                attempts: self.attempts,
                account: self.account,
                arrived_micros: self.arrived_micros,
                ended_micros: now_micros(),
                wall_micros: wall_micros(),
            });
        });
    }

    /// Notes who ended the request and when, unless that is known already.
    pub(crate) fn ended(&mut self, by: By, stage: Stage) {
        self.account
            .termination
            .get_or_insert(Termination(by, stage));
    }

    /// Counts an answer of ours.
    pub(crate) fn count_rejected(&self, thread: &Thread, rejected: Rejected, now_micros: u64) {
        thread.writer.rejected(self.service, rejected);
        // A person asked for these: they are no gap.
        let is_asked = matches!(rejected, Rejected::Paused | Rejected::Maintenance);
        let service = self.service.filter(|_| !is_asked);
        if let Some(service) = service {
            thread
                .writer
                .response_never_begins(service, self.arrived_micros, now_micros);
        }
    }

    /// Waits until the request is admitted; the client may leave meanwhile.
    pub(crate) async fn admitted<S: Stream>(
        &mut self,
        client: &mut Client<S>,
        exchange: &mut Exchange,
    ) -> Result<Claim, Turned> {
        let why = match self.admit(client, &exchange.request) {
            Admission::Claimed(claim) => return Ok(claim),
            Admission::Never(rejected) => return Err(Turned::Away(rejected)),
            Admission::Wait => Wait::Endpoint,
            Admission::Full(full) => Wait::Place(full),
            Admission::Hold(until) => Wait::PauseEnd(until),
        };
        let thread = Rc::clone(&client.thread);
        let place = Waiting::new(&thread, self.service);
        if place.number > thread.settings.waiting_max || self.is_too_many(&thread, why) {
            return Err(Turned::Away(self.no_room(why)));
        }
        client.set_reading(false);
        self.begin_wait(client, why);
        let mut seen = thread.applied();
        let asking = Asking::before_endpoint::<S>(self.client_side.version());
        poll_fn(|context| {
            if client
                .poll_gone(context, &mut exchange.up, asking)
                .is_ready()
            {
                self.note_left(&thread);
                return Poll::Ready(Err(Turned::Gone));
            }
            let is_due = self.is_held() && client.watch.is_overdue();
            if thread.applied() != seen || is_due || self.is_called(&thread) {
                seen = thread.applied();
                match self.admit(client, &exchange.request) {
                    Admission::Claimed(claim) => return Poll::Ready(Ok(claim)),
                    Admission::Never(rejected) => return Poll::Ready(Err(Turned::Away(rejected))),
                    Admission::Wait => self.begin_wait(client, Wait::Endpoint),
                    Admission::Full(full) => self.begin_wait(client, Wait::Place(full)),
                    Admission::Hold(until) => self.begin_wait(client, Wait::PauseEnd(until)),
                }
            }
            if client.watch.is_overdue() {
                return Poll::Ready(Err(Turned::Away(self.out_of_time())));
            }
            Poll::Pending
        })
        .await
    }

    /// Throws away what was read of the request's body. False: it is too much, or malformed.
    pub(crate) fn discard(&mut self, exchange: &mut Exchange) -> bool {
        exchange.up.forget_passed();
        let Some(relay) = &mut exchange.up.relay else {
            return true;
        };
        let Ok(bytes) = relay.discard(exchange.up.input.filled()) else {
            return false;
        };
        exchange.up.input.consume(bytes);
        self.client_side.discarded(bytes).is_ok()
    }

    /// True if the request announces a body above the limit.
    fn is_too_large(&self, request: &RequestHead) -> bool {
        match request.framing() {
            Framing::Length(bytes) => bytes > self.limits.body_bytes_max,
            Framing::None | Framing::Chunked | Framing::UntilClose => false,
        }
    }
}

/// What the service's balance by hash is made from.
fn hash<'a>(
    service: &ServiceTable,
    request: &'a RequestHead,
    address: &'a Address,
) -> Option<&'a [u8]> {
    match &service.delivery.balance {
        Balancing::Hash(HashKey::Header(name)) => request.fields().first(name),
        Balancing::Hash(HashKey::Cookie(name)) => request.cookie(name),
        Balancing::Hash(HashKey::Client) => Some(address.as_bytes()),
        Balancing::P2c | Balancing::RoundRobin | Balancing::LeastRequests | Balancing::PeakEwma => {
            None
        }
    }
}

fn is_audience(service: &ServiceTable, request: &RequestHead) -> bool {
    service.candidate.is_some()
        && service.audiences.iter().any(|rule| {
            let value = match rule {
                AudienceRule::Header(name, _) => request.fields().first(name),
                AudienceRule::Cookie(name, _) => request.cookie(name),
            };
            value.is_some_and(|value| rule.accepts(value, service.rollout))
        })
}

/// A client's address as bytes.
#[derive(Debug)]
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Address {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(ip.octets()),
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::V4(octets) => octets,
            Self::V6(octets) => octets,
        }
    }
}

impl Routing {
    /// What becomes of a request that no route takes: before the first table it waits.
    fn without_route(&self) -> Admission {
        if self.revision() == Revision::default() {
            Admission::Wait
        } else {
            Admission::Never(Rejected::NoRoute)
        }
    }
}
