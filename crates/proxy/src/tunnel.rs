//! Opaque bytes both ways, after the protocol was changed.
//!
//! When its endpoint is to go, a tunnel is ended with the protocol's own goodbye where it has
//! one that we know, a WebSocket's close frame, and between two frames only.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use model::Carrier;
use traffic::Outcome;

use crate::buffer::{Blocks, Fill};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::flow::Flow;
use crate::stream::Stream;
use crate::upstream::Upstream;
use crate::visit::Visit;
use crate::websocket::{Frames, Towards, Until, write_goodbye};

/// How long both ends may take to answer a goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// How far one direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The goodbye is being written.
    Parting,
    /// It was, and what still comes is thrown away.
    Parted,
    /// The source has ended, and the target was told.
    Ended,
}

/// What is known of one direction.
#[derive(Debug)]
struct Half {
    stage: Stage,
    /// Its frames, if it has some that we know.
    frames: Option<Frames>,
    towards: Towards,
}

/// Whether a tunnel is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Carry,
    Part,
}

/// Carries a tunnel to its end. It may be silent for as long as its ends like.
pub(crate) async fn carry<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    upstream: &mut Upstream,
) -> Outcome {
    client.watch.clear_deadline();
    client
        .watch
        .set_carrier(Carrier::Websocket, || client.thread.random());
    let protocol = exchange.request.upgrade().unwrap_or_default();
    let is_websocket = protocol.eq_ignore_ascii_case(b"websocket");
    let half = |towards| Half {
        stage: Stage::Open,
        frames: is_websocket.then(Frames::default),
        towards,
    };
    let mask = (client.thread.random() as u32).to_be_bytes();
    let (mut up, mut down) = (half(Towards::Program(mask)), half(Towards::Client));
    let mut patience = None;
    poll_fn(|context| {
        if client.watch.is_cut() {
            return Poll::Ready(Outcome::Cut);
        }
        let (wish, outcome) = if client.watch.is_parting() {
            (Wish::Part, Outcome::Cut)
        } else {
            (Wish::Carry, Outcome::TunnelClosed)
        };
        if wish == Wish::Part && !is_websocket {
            return Poll::Ready(Outcome::Cut);
        }
        let blocks = &client.thread.blocks;
        let client_stream = &mut client.stream;
        let to_upstream = up.poll(
            (context, wish),
            (&mut exchange.up, blocks),
            (client_stream, &mut *upstream),
        );
        let to_client = down.poll(
            (context, wish),
            (&mut exchange.down, blocks),
            (&mut *upstream, client_stream),
        );
        match (to_upstream, to_client) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(outcome),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(outcome),
            (Poll::Pending, _) | (_, Poll::Pending) => {}
        }
        let allowed = patience_with((up.stage, down.stage), visit);
        if allowed != patience {
            patience = allowed;
            patience
                .into_iter()
                .for_each(|span| client.watch.set_deadline_in(span));
        } else if patience.is_some() && client.watch.is_overdue() {
            return Poll::Ready(outcome);
        }
        Poll::Pending
    })
    .await
}

/// How long a tunnel may go on that is neither open nor ended.
fn patience_with(stages: (Stage, Stage), visit: &Visit) -> Option<Duration> {
    let is_over = |stage| matches!(stage, Stage::Parted | Stage::Ended);
    match stages {
        (Stage::Parted, other) | (other, Stage::Parted) if is_over(other) => Some(FAREWELL),
        // The other end has this long to end too.
        (Stage::Ended, _) | (_, Stage::Ended) => Some(visit.limits.idle_timeout),
        (Stage::Open | Stage::Parting | Stage::Parted, _) => None,
    }
}

impl Half {
    /// Moves what can be moved; ready once this direction has ended.
    fn poll<From: Stream, To: Stream>(
        &mut self,
        (context, wish): (&mut Context<'_>, Wish),
        (flow, blocks): (&mut Flow, &Blocks),
        (source, target): (&mut From, &mut To),
    ) -> Poll<io::Result<()>> {
        loop {
            match self.stage {
                Stage::Open => {
                    ready!(flow.poll_write(context, target))?;
                    if wish == Wish::Part && self.is_between_frames() {
                        self.part(flow);
                    } else if flow.input.is_empty()
                        && ready!(flow.input.poll_fill(context, source, blocks))? == Fill::End
                    {
                        ready!(Pin::new(&mut *target).poll_shutdown(context))?;
                        self.stage = Stage::Ended;
                    } else {
                        self.take(flow, wish);
                    }
                }
                Stage::Parting => {
                    ready!(flow.poll_write(context, target))?;
                    ready!(Pin::new(&mut *target).poll_shutdown(context))?;
                    self.stage = Stage::Parted;
                }
                Stage::Parted => {
                    flow.forget_input();
                    if ready!(flow.input.poll_fill(context, source, blocks))? == Fill::End {
                        self.stage = Stage::Ended;
                    }
                }
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn is_between_frames(&self) -> bool {
        self.frames.as_ref().is_none_or(Frames::is_between)
    }

    /// Passes on what was read; no further than the present frame if the tunnel is to end.
    fn take(&mut self, flow: &mut Flow, wish: Wish) {
        let until = match wish {
            Wish::Carry => Until::End,
            Wish::Part => Until::Boundary,
        };
        let bytes = match &mut self.frames {
            Some(frames) => frames.follow(flow.input.filled(), until),
            None => flow.input.len(),
        };
        flow.take_first(bytes);
    }

    /// Says goodbye, unless the source has done so itself.
    fn part(&mut self, flow: &mut Flow) {
        flow.forget_input();
        if self
            .frames
            .as_ref()
            .is_some_and(|frames| !frames.is_closed())
        {
            write_goodbye(self.towards, &mut flow.out);
        }
        self.stage = Stage::Parting;
    }
}
