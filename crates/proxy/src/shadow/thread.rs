//! The thread that asks shadows.

use std::cell::{Cell as Local, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::Writer;
use model::{Compare, Revision};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use traffic::{Cell, Dropped, Endpoint, Outcome, ServiceTable, ShadowTable};
use verdict::Reply;

use super::ask::{Question, ask};
use super::copy::Copied;
use super::found::Findings;
use super::reply::{Keep, Read};
use crate::clock::now_micros;
use crate::keeper::Tls;
use crate::orders::{Ending, OrderBox, Orders};
use crate::routing::Routing;

/// How often the thread shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// What the tasks of the thread share.
#[derive(Debug)]
struct ShadowThread {
    writer: Writer,
    findings: Findings,
    routing: RefCell<Arc<Routing>>,
    tls: RefCell<Tls>,
    /// Endpoints whose drain limit is over, and how those that are at one hear of it.
    cut: RefCell<BTreeSet<Cell>>,
    cut_news: Notify,
    /// Copies under way.
    open: Local<u32>,
    ended: Notify,
    turn: Local<usize>,
}

/// A copy at an endpoint, open in the ledger until it ends with an outcome.
struct Claim<'a> {
    thread: &'a ShadowThread,
    endpoint: Endpoint,
    outcome: Outcome,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.thread.writer.end(self.endpoint.cell, self.outcome);
    }
}

/// Starts the thread.
pub(crate) fn spawn(
    (writer, findings): (Writer, Findings),
    received: UnboundedReceiver<Copied>,
    orders: Arc<OrderBox>,
) -> io::Result<JoinHandle<()>> {
    let runtime = Builder::new_current_thread();
    let thread = std::thread::Builder::new().name("proxy-shadow".to_owned());
    let (stands, heard) = std::sync::mpsc::sync_channel(1);
    let handle = thread.spawn(move || {
        let mut runtime = runtime;
        let runtime = runtime.enable_all().build_local(LocalOptions::default());
        let (runtime, said) = match runtime {
            Ok(runtime) => (Some(runtime), Ok(())),
            Err(error) => (None, Err(error)),
        };
        let is_heard = stands.send(said).is_ok();
        if let (Some(runtime), true) = (runtime, is_heard) {
            let thread = Rc::new(ShadowThread::new(writer, findings));
            runtime.block_on(follow(&thread, received, &orders));
        }
    })?;
    heard.recv().map_err(io::Error::other)??;
    Ok(handle)
}

/// Follows tables and asks, until told to end.
async fn follow(
    thread: &Rc<ShadowThread>,
    mut received: UnboundedReceiver<Copied>,
    orders: &OrderBox,
) {
    let mut ending = Ending::Serving;
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while ending < Ending::Now
        && (ending == Ending::Serving || thread.open.get() > 0 || !received.is_empty())
    {
        tokio::select! {
            taken = orders.take() => {
                ending = taken.ending;
                thread.obey(taken);
            }
            Some(copied) = received.recv() => thread.take(copied),
            _ = tick.tick() => thread.writer.beat(now_micros()),
            () = thread.ended.notified() => {}
        }
    }
}

impl ShadowThread {
    fn new(writer: Writer, findings: Findings) -> Self {
        Self {
            writer,
            findings,
            routing: RefCell::default(),
            tls: RefCell::default(),
            cut: RefCell::default(),
            cut_news: Notify::new(),
            open: Local::new(0),
            ended: Notify::new(),
            turn: Local::new(0),
        }
    }

    fn obey(&self, orders: Orders) {
        if let Some(tls) = orders.tls {
            *self.tls.borrow_mut() = tls;
        }
        if let Some(routing) = orders.routing
            && routing.revision() >= self.revision()
        {
            // A cell that is given out again is another endpoint's.
            self.cut.borrow_mut().retain(|cell| !routing.has(*cell));
            let revision = routing.revision();
            *self.routing.borrow_mut() = routing;
            self.writer.confirm(revision);
        }
        if !orders.cut.is_empty() {
            self.cut.borrow_mut().extend(orders.cut);
            self.cut_news.notify_waiters();
        }
    }

    fn revision(&self) -> Revision {
        self.routing.borrow().revision()
    }

    /// Takes a copy, if its shadow is still wanted.
    fn take(self: &Rc<Self>, copied: Copied) {
        let routing = Arc::clone(&self.routing.borrow());
        let services = &routing.table.services;
        let service = services.iter().find(|own| own.cell == copied.service);
        let wanted = service.and_then(|service| {
            let shadow = service.shadow.as_ref();
            shadow
                .filter(|shadow| shadow.key == copied.key)
                .map(|shadow| (service, shadow))
        });
        let Some((service, shadow)) = wanted else {
            self.writer.not_copied(copied.service, Dropped::Over);
            return;
        };
        let claims = self.claims(service, shadow);
        let Some(claims) = claims else {
            self.writer.not_copied(copied.service, Dropped::NoEndpoint);
            return;
        };
        let policy = &shadow.policy;
        let compare = policy.compare.clone();
        let most = policy.body_bytes_max;
        let thread = Rc::clone(self);
        self.open.set(self.open.get() + 1);
        tokio::task::spawn_local(async move {
            match compare {
                None => thread.mirror(&copied, claims).await,
                Some(rule) => thread.compare((&copied, most), &rule, claims).await,
            }
            thread.open.set(thread.open.get() - 1);
            thread.ended.notify_one();
        });
    }

    /// The endpoints that are asked, all of them open from now on: the new release's, and the
    /// old one's twice before it where answers are compared.
    fn claims(&self, service: &ServiceTable, shadow: &ShadowTable) -> Option<Vec<Endpoint>> {
        let turn = self.turn.get();
        let mut wanted = vec![(&shadow.target, turn)];
        if shadow.policy.compare.is_some() {
            wanted = vec![
                (&service.stable, 2 * turn),
                (&service.stable, 2 * turn + 1),
                (&shadow.target, turn),
            ];
        }
        let place = |(side, turn): &(&traffic::Candidate, usize)| {
            let at = turn.checked_rem(side.endpoints.len())?;
            side.endpoints.get(at).cloned()
        };
        let claims: Option<Vec<Endpoint>> = wanted.iter().map(place).collect();
        let claims = claims?;
        self.turn.set(turn.wrapping_add(1) & 0xffff);
        claims.iter().for_each(|one| self.writer.claim(one.cell));
        Some(claims)
    }

    async fn mirror(&self, copied: &Copied, endpoints: Vec<Endpoint>) {
        for endpoint in endpoints {
            let question = question(copied, Keep::Nothing);
            let _ = self.ask(endpoint, question).await;
        }
    }

    async fn compare(&self, (copied, most): (&Copied, u64), rule: &Compare, ends: Vec<Endpoint>) {
        let Ok([first, second, new]) = <[Endpoint; 3]>::try_from(ends) else {
            return;
        };
        let question = question(copied, Keep::Compared(&rule.headers, most));
        // All at the same time, so that as little as possible changes between them.
        let (first, second, new) = tokio::join!(
            self.ask(first, question),
            self.ask(second, question),
            self.ask(new, question),
        );
        let is_wanted = {
            let routing = self.routing.borrow();
            let mut shadows = routing.table.services.iter();
            shadows.any(|own| own.shadow.as_ref().is_some_and(|s| s.key == copied.key))
        };
        // Once it is over, endpoints are told to stop, and what they fail then is our doing.
        let is_ours = matches!(new, Err(Outcome::Cut));
        if is_wanted && !is_ours {
            let [first, second, new] = [first, second, new].map(reply);
            let found = verdict::compare(rule, [&first, &second], &new);
            self.findings.add(copied.key, &copied.route, found.as_ref());
        }
    }

    /// Asks an endpoint that was claimed.
    async fn ask(&self, endpoint: Endpoint, question: Question<'_>) -> Result<Read, Outcome> {
        let mut claim = Claim {
            thread: self,
            endpoint,
            // If the thread itself ends with this open.
            outcome: Outcome::Cut,
        };
        let began = now_micros();
        let cell = claim.endpoint.cell;
        let trust = self.tls.borrow().programs.get(&cell).cloned();
        let answer = tokio::select! {
            answer = ask((&claim.endpoint, trust), question) => answer,
            () = self.until_cut(cell) => Err(Outcome::Cut),
        };
        claim.outcome = match &answer {
            Ok(read) => {
                let sent = question.bytes.len() as u64;
                self.writer.bytes(cell, sent, read.bytes);
                self.writer
                    .latency(cell, now_micros().saturating_sub(began));
                Outcome::of_status(read.status)
            }
            Err(outcome) => *outcome,
        };
        answer
    }

    async fn until_cut(&self, cell: Cell) {
        loop {
            let news = self.cut_news.notified();
            if self.cut.borrow().contains(&cell) {
                return;
            }
            news.await;
        }
    }
}

fn question<'a>(copied: &'a Copied, keep: Keep<'a>) -> Question<'a> {
    Question {
        method: copied.method,
        bytes: &copied.bytes,
        introduction: &copied.introduction,
        keep,
        limit: copied.limit,
    }
}

fn reply(answer: Result<Read, Outcome>) -> Reply {
    match answer {
        Ok(Read {
            answer: Some(answer),
            ..
        }) => Reply::Answer(answer),
        Ok(_) => Reply::Nothing("none"),
        Err(Outcome::ConnectFailed) => Reply::Nothing("no connection"),
        Err(Outcome::Timeout) => Reply::Nothing("timeout"),
        Err(Outcome::Truncated) => Reply::Nothing("truncated"),
        Err(Outcome::BadResponse) => Reply::Nothing("malformed"),
        Err(_) => Reply::Nothing("none"),
    }
}
