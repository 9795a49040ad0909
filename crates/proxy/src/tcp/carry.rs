//! Carries one connection both ways until its ends have ended it, or something else does.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use traffic::Outcome;

use crate::access::By;
use crate::client::Client;
use crate::clock::now_micros;
use crate::exchange::Exchange;
use crate::links::Link;
use crate::stream::{Opaque, Stream as _};
use crate::sys;
use crate::tcp::way::{Goodbye, Stage, Way};

/// How long a client may take to acknowledge what the program said before its reset.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Both ends have said goodbye.
    Goodbye,
    /// The client reset it.
    Client,
    /// The program did.
    Program,
    /// It carried nothing for too long.
    Idle,
    /// Its endpoint goes.
    Cut,
}

impl End {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Goodbye | Self::Idle => Outcome::TunnelClosed,
            Self::Client => Outcome::ClientGone,
            Self::Program => Outcome::Truncated,
            Self::Cut => Outcome::Cut,
        }
    }

    /// Who broke it off.
    pub(super) fn by(self) -> Option<By> {
        match self {
            Self::Goodbye => None,
            Self::Client => Some(By::Client),
            Self::Program => Some(By::Upstream),
            Self::Idle | Self::Cut => Some(By::Proxy),
        }
    }

    /// Why we ended it, if it was us.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Goodbye | Self::Client | Self::Program => None,
            Self::Idle => Some("idle"),
            Self::Cut => Some("cut"),
        }
    }
}

/// What a connection has carried, and how it ended.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) end: End,
    pub(super) to_program: u64,
    pub(super) to_client: u64,
    /// When the program first said something; 0: never.
    pub(super) begun_micros: u64,
}

/// What is carried.
#[derive(Debug)]
pub(super) struct Carriage<'a> {
    pub(super) client: &'a mut Client<Opaque>,
    pub(super) link: Link,
    /// How long it may carry nothing.
    pub(super) idle: Option<Duration>,
}

/// Both ways of a connection.
#[derive(Debug)]
struct Course<'a> {
    carriage: Carriage<'a>,
    to_program: Way,
    to_client: Way,
    begun_micros: u64,
    /// When the sockets were last asked for what the runtime does not tell.
    asked_micros: Option<u64>,
}

/// Carries a connection to its end. Its sockets then close in order only if both ends did.
pub(super) async fn carry(carriage: Carriage<'_>, exchange: &mut Exchange) -> Carried {
    let thread = Rc::clone(&carriage.client.thread);
    let introduction = exchange.up.out.len() as u64;
    let mut course = Course {
        carriage,
        to_program: Way::new(&thread, &mut exchange.up),
        to_client: Way::new(&thread, &mut exchange.down),
        begun_micros: 0,
        asked_micros: None,
    };
    match course.carriage.idle {
        Some(idle) => course.carriage.client.watch.set_deadline_in(idle),
        None => course.carriage.client.watch.clear_deadline(),
    }
    let end = poll_fn(|context| course.poll(context, exchange)).await;
    if end == End::Program {
        course.last_words().await;
    }
    if end == End::Goodbye {
        // If the kernel refuses, a goodbye that it has sent already stays one.
        let sockets = [
            &course.carriage.client.stream.0,
            &course.carriage.link.stream,
        ];
        for socket in sockets {
            let _ = SockRef::from(socket).set_linger(None);
        }
    }
    Carried {
        end,
        to_program: course.to_program.carried().saturating_sub(introduction),
        to_client: course.to_client.carried(),
        begun_micros: course.begun_micros,
    }
}

impl Course<'_> {
    fn poll(&mut self, context: &mut Context<'_>, exchange: &mut Exchange) -> Poll<End> {
        if self.carriage.client.watch.is_cut() {
            return Poll::Ready(End::Cut);
        }
        let before = self.carried();
        self.advance(context, exchange);
        let has_moved = self.carried() > before;
        if self.begun_micros == 0 && self.to_client.carried() > 0 {
            self.begun_micros = now_micros();
        }
        match self.end() {
            Some(end) => Poll::Ready(end),
            None => self.poll_patience(has_moved, exchange),
        }
    }

    fn carried(&self) -> u64 {
        self.to_program.carried() + self.to_client.carried()
    }

    /// Moves what can be moved.
    fn advance(&mut self, context: &mut Context<'_>, exchange: &mut Exchange) {
        let Carriage { client, link, .. } = &mut self.carriage;
        let (client, upstream) = (&mut client.stream.0, &mut link.stream);
        let ends = (&mut *client, &mut *upstream);
        self.to_program
            .poll(context, &mut exchange.up, (ends, Goodbye::Passed));
        // What looks like the end of what a program had to say is none if it takes no more.
        let goodbye = match self.to_program.stage() {
            Stage::TargetGone => Goodbye::Withheld,
            Stage::Open | Stage::Ended | Stage::SourceGone => Goodbye::Passed,
        };
        let ends = (upstream, client);
        self.to_client
            .poll(context, &mut exchange.down, (ends, goodbye));
    }

    /// Whether and how it has ended by itself.
    fn end(&mut self) -> Option<End> {
        let stages = (self.to_program.stage(), self.to_client.stage());
        match stages {
            (Stage::SourceGone, _) | (_, Stage::TargetGone) => Some(End::Client),
            // What the program said before is still for the client.
            (_, Stage::SourceGone) | (Stage::TargetGone, Stage::Ended) => Some(End::Program),
            (Stage::Ended, Stage::Ended) => Some(End::Goodbye),
            (Stage::Open, Stage::Open) | (Stage::TargetGone, Stage::Open) => None,
            (Stage::Ended, Stage::Open) => self.is_reset_unheard().then_some(End::Client),
            (Stage::Open, Stage::Ended) => self.is_reset_unheard().then_some(End::Program),
        }
    }

    /// True if an end that has said goodbye has reset the connection since: nothing is read from
    /// it any more, so the runtime has nothing to tell, and it is asked at each tick.
    fn is_reset_unheard(&mut self) -> bool {
        let Carriage { client, link, .. } = &self.carriage;
        let now = client.thread.watches.coarse_micros();
        if self.asked_micros == Some(now) {
            return false;
        }
        if self.asked_micros.replace(now).is_none() {
            client.watch.wake_each_tick();
        }
        match self.to_program.stage() {
            Stage::Ended => client.stream.is_broken(),
            Stage::Open | Stage::SourceGone | Stage::TargetGone => link.stream.is_broken(),
        }
    }

    /// Whether it is ended by us: not before what was read is with whom it is for, so that most
    /// are ended between two messages.
    fn poll_patience(&self, has_moved: bool, exchange: &Exchange) -> Poll<End> {
        let Carriage { client, idle, .. } = &self.carriage;
        if let (Some(idle), true) = (idle, has_moved) {
            client.watch.set_deadline_in(*idle);
        }
        let is_quiet = !has_moved
            && self.to_program.is_delivered(&exchange.up)
            && self.to_client.is_delivered(&exchange.down);
        if client.watch.is_parting() && is_quiet {
            return Poll::Ready(End::Cut);
        }
        if idle.is_some() && client.watch.is_overdue() {
            return Poll::Ready(End::Idle);
        }
        Poll::Pending
    }

    /// Waits until the client has what the program said before its reset, which would overtake
    /// it; not for long.
    async fn last_words(&mut self) {
        let client = &self.carriage.client;
        client.watch.set_deadline_in(LAST_WORDS);
        let has_all =
            || -> io::Result<bool> { Ok(sys::unacknowledged_bytes(&client.stream.0)? == 0) };
        if has_all().unwrap_or(true) {
            return;
        }
        client.watch.wake_each_tick();
        poll_fn(|_| {
            let is_over = client.watch.is_overdue() || client.watch.is_cut();
            match has_all() {
                Ok(false) if !is_over && !client.stream.is_broken() => Poll::Pending,
                Ok(_) | Err(_) => Poll::Ready(()),
            }
        })
        .await;
    }
}
