//! A second attempt beside a first one that is slow: whichever brings the first byte of a response
//! has the request, and the other one is broken off as if it had never been.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http1::UpstreamSide;
use model::Protocol;
use tls::Trust;
use tokio::io::AsyncWrite as _;
use traffic::{Cell, Outcome, Progress};

use crate::attempt::{Run, overdue};
use crate::buffer::{Blocks, Buffer, Fill};
use crate::claim::{Claim, Connection};
use crate::client::Client;
use crate::clock::micros;
use crate::exchange::Exchange;
use crate::http2::{Berth, Call, Wanted};
use crate::links::{Link, Seat};
use crate::pool::{Place, connect, poll_connected};
use crate::presence::Asking;
use crate::relay::{End, Failure};
use crate::stream::Stream;
use crate::thread::Thread;
use crate::upstream::{Upstream, introduce};
use crate::visit::Visit;
use crate::watch::TICK;
use crate::wire::{Wire, secure};

/// A second attempt.
struct Second {
    claim: Claim,
    stage: Stage,
    input: Buffer,
}

/// How far it has come.
enum Stage {
    Opening(Opening),
    /// So many bytes of the request were written.
    Asking(Upstream, usize),
}

/// A connection that is being made.
type Opening = Pin<Box<dyn Future<Output = io::Result<Upstream>>>>;

/// The attempts that are still there, at least one.
struct Racing {
    first: Option<Run>,
    second: Option<Second>,
    /// While both are there.
    doubled: Option<Doubled>,
}

/// One request that is open at two endpoints.
struct Doubled {
    thread: Rc<Thread>,
    service: Cell,
}

impl Doubled {
    fn new(thread: &Rc<Thread>, service: Cell) -> Self {
        thread.writer.doubles(service);
        Self {
            thread: Rc::clone(thread),
            service,
        }
    }
}

impl Drop for Doubled {
    fn drop(&mut self) {
        self.thread.writer.doubles_no_more(self.service);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// What happens first.
enum Came {
    Answer(Which),
    Failure(Which),
    /// Both are over.
    Over(End),
}

/// Makes a second attempt, if one may be made, and waits for the first byte of either. Returns
/// the one to go on with.
///
/// # Errors
///
/// What ended both, and the one that it is counted for.
pub(crate) async fn race<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    first: Run,
) -> Result<Run, (Claim, End)> {
    let thread = Rc::clone(&client.thread);
    let (noted, state) = (visit.noted(), client.watch.state());
    let claim = visit.second(client, &exchange.request, first.claim.place.cell);
    let second = claim.and_then(|claim| Second::begin(&thread, visit, claim));
    let is_made = second.is_some();
    let mut racing = Racing {
        first: Some(first),
        second,
        doubled: visit
            .service
            .filter(|_| is_made)
            .map(|service| Doubled::new(&thread, service)),
    };
    if is_made {
        let service = visit.service.into_iter();
        service.for_each(|service| thread.writer.hedged(service));
        let patience = visit.limits.response_timeout;
        client.watch.set_deadline_before(patience, visit.until());
        racing.run((client, exchange, visit)).await?;
    }
    let Some(first) = racing.first else {
        return Ok(won(client, exchange, visit, racing.second));
    };
    if let Some(mut second) = racing.second {
        second.input.clear();
        second.input.give_back(&thread.blocks);
        second.claim.undo();
    }
    visit.note_again(noted);
    client.watch.set_state(state);
    Ok(first)
}

/// The second attempt goes on in the first one's stead.
fn won<S: Stream>(
    client: &Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    second: Option<Second>,
) -> Run {
    let (Some(second), Some(service)) = (second, visit.service) else {
        unreachable!("one of the two is there, and both are a service's");
    };
    let Stage::Asking(upstream, _) = second.stage else {
        unreachable!("only who was asked has answered");
    };
    client.thread.writer.hedge_won(service);
    exchange.down.forget_input();
    exchange.down.input.give_back(&client.thread.blocks);
    exchange.down.input = second.input;
    let fields = visit.caller.fields(client);
    let mut side = UpstreamSide::new(&exchange.request, &visit.rewrite(client, &fields));
    side.request_ended();
    Run {
        claim: second.claim,
        upstream,
        side,
    }
}

type Around<'a, S> = (&'a mut Client<S>, &'a mut Exchange, &'a Visit);

impl Racing {
    /// Waits until one of the two is left with an answer, or alone at the first's place.
    async fn run<S: Stream>(&mut self, around: Around<'_, S>) -> Result<(), (Claim, End)> {
        let (client, exchange, visit) = around;
        loop {
            let came = poll_fn(|context| {
                let around = (&mut *client, &mut *exchange, visit);
                self.poll(context, around)
            });
            match came.await {
                Came::Answer(Which::First) => return Ok(()),
                Came::Answer(Which::Second) => {
                    let first = self.first.take();
                    first.into_iter().for_each(|first| first.claim.undo());
                    self.doubled = None;
                    return Ok(());
                }
                Came::Failure(Which::First) if self.second.is_some() => {
                    let first = self.first.take();
                    let repeated = Outcome::NoResponseRepeated;
                    first
                        .into_iter()
                        .for_each(|first| first.claim.end(repeated));
                    self.doubled = None;
                }
                Came::Failure(Which::Second) if self.first.is_some() => {
                    let second = self.second.take();
                    second.into_iter().for_each(Second::failed);
                    self.doubled = None;
                    return Ok(());
                }
                Came::Failure(_) => return Err(self.over(None)),
                Came::Over(end) => return Err(self.over(Some(end))),
            }
        }
    }

    /// Both are over: the first one's claim has the outcome while it is there.
    fn over(&mut self, end: Option<End>) -> (Claim, End) {
        let first = self.first.take().map(|first| first.claim);
        let second = self.second.take().map(|second| second.claim);
        let claim = match (first, second) {
            (Some(first), second) => {
                second.into_iter().for_each(Claim::undo);
                first
            }
            (None, Some(second)) => second,
            (None, None) => unreachable!("one of the two is there"),
        };
        let progress = match claim.connection {
            Connection::Reused => Progress::SentOnReused,
            Connection::New => Progress::SentOnNew,
        };
        let failed = End::Unanswered(Failure::NoResponse, progress);
        (claim, end.unwrap_or(failed))
    }

    fn poll<S: Stream>(
        &mut self,
        context: &mut Context<'_>,
        (client, exchange, visit): Around<'_, S>,
    ) -> Poll<Came> {
        let asking = Asking::before_response::<S>(visit.client_side.version());
        let gone = client.poll_gone(context, &mut exchange.up, asking);
        if gone.is_ready() {
            return Poll::Ready(Came::Over(End::ClientGone));
        }
        let blocks = &client.thread.blocks;
        if let Some(first) = &mut self.first {
            let input = &mut exchange.down.input;
            if let Poll::Ready(read) = input.poll_fill(context, &mut first.upstream, blocks) {
                return Poll::Ready(came(&read, Which::First));
            }
        }
        if let Some(second) = &mut self.second
            && let Poll::Ready(read) = second.poll(context, &exchange.up.out, blocks)
        {
            return Poll::Ready(came(&read, Which::Second));
        }
        if client.watch.is_cut() {
            return Poll::Ready(Came::Over(End::Cut));
        }
        if client.watch.is_overdue() {
            let late = visit.late(client.thread.watches.coarse_micros());
            let silent = End::Unanswered(Failure::Timeout, Progress::Answered);
            return Poll::Ready(Came::Over(late.map_or(silent, overdue)));
        }
        Poll::Pending
    }
}

fn came(read: &io::Result<Fill>, which: Which) -> Came {
    match read {
        Ok(Fill::Bytes) => Came::Answer(which),
        Ok(Fill::End | Fill::Full) | Err(_) => Came::Failure(which),
    }
}

impl Second {
    /// Begins it; `None` after taking the claim back if there is no connection to be had.
    fn begin(thread: &Rc<Thread>, visit: &Visit, mut claim: Claim) -> Option<Self> {
        let Some(stage) = begin(thread, visit, &mut claim) else {
            claim.undo();
            return None;
        };
        Some(Self {
            claim,
            stage,
            input: Buffer::default(),
        })
    }

    /// Its endpoint has not answered, and the first attempt goes on.
    fn failed(self) {
        let outcome = match self.stage {
            Stage::Opening(_) => Outcome::ConnectRepeated,
            Stage::Asking(..) => Outcome::NoResponseRepeated,
        };
        self.claim.end(outcome);
    }

    /// Goes on until bytes of a response have come.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        request: &[u8],
        blocks: &Blocks,
    ) -> Poll<io::Result<Fill>> {
        loop {
            match &mut self.stage {
                Stage::Opening(opening) => {
                    let upstream = ready!(opening.as_mut().poll(context))?;
                    self.stage = Stage::Asking(upstream, 0);
                }
                Stage::Asking(upstream, written) => {
                    while *written < request.len() {
                        let rest = &request[*written..];
                        *written += ready!(Pin::new(&mut *upstream).poll_write(context, rest))?;
                    }
                    ready!(Pin::new(&mut *upstream).poll_flush(context))?;
                    return self.input.poll_fill(context, upstream, blocks);
                }
            }
        }
    }
}

/// Takes a connection to the endpoint, or begins to make one; `None`: there is none to be had.
fn begin(thread: &Rc<Thread>, visit: &Visit, claim: &mut Claim) -> Option<Stage> {
    let place = claim.place;
    let trust = match place.protocol.is_secured() {
        true => Some(thread.trust(place.cell)?),
        false => None,
    };
    let opening: Opening = match place.protocol {
        Protocol::H2c | Protocol::H2 => {
            let wanted = Wanted {
                place,
                trust,
                method: visit.method,
                since_micros: 0,
            };
            let patience = visit.limits.connect_timeout;
            Box::pin(called(thread.trunks.take(thread, &wanted, patience)))
        }
        Protocol::Http1 | Protocol::Https => {
            let now = thread.watches.coarse_micros() + micros(TICK);
            let idle = visit.proxy_protocol.is_none().then(|| {
                let to = (place, trust.as_ref());
                thread.pool.take(to, visit.method, now)
            });
            if let Some(link) = idle.flatten() {
                claim.connection = Connection::Reused;
                return Some(Stage::Asking(Upstream::Whole(link), 0));
            }
            let seat = match visit.connections_max.zip(visit.service) {
                None => None,
                Some((most, service)) => Some(thread.seat((service, place.cell), most)?),
            };
            Box::pin(linked((place, trust), seat, visit.introduction.clone()))
        }
    };
    Some(Stage::Opening(opening))
}

async fn called(mut berth: Berth) -> io::Result<Upstream> {
    let opened = poll_fn(|context| berth.poll_open(context)).await;
    opened.map_err(|_| io::ErrorKind::ConnectionRefused)?;
    Ok(Upstream::Call(Box::new(Call::new(berth))))
}

async fn linked(
    (place, trust): (Place, Option<Arc<Trust>>),
    seat: Option<Seat>,
    introduction: Vec<u8>,
) -> io::Result<Upstream> {
    let stream = connect(place.address)?;
    poll_fn(|context| poll_connected(context, &stream)).await?;
    introduce(&stream, &introduction)?;
    let stream = match trust {
        None => Wire::Plain(stream),
        Some(trust) => {
            let secured = secure(stream, (trust, place.protocol)).await;
            secured.map_err(io::Error::other)?
        }
    };
    Ok(Upstream::Whole(Link { stream, seat }))
}
