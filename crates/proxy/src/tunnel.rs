//! Opaque bytes both ways, after the protocol was changed.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::net::TcpStream;
use traffic::Outcome;

use crate::buffer::{Blocks, Fill};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::flow::Flow;
use crate::stream::Stream;
use crate::visit::Visit;

/// How far one direction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Open,
    /// The source has ended, and the target was told.
    Ended,
}

/// Carries a tunnel to its end. It may be silent for as long as its ends like.
pub(crate) async fn carry<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &Visit,
    upstream: &mut TcpStream,
) -> Outcome {
    client.watch.clear_deadline();
    let (mut up, mut down) = (Half::Open, Half::Open);
    let mut is_ending = false;
    poll_fn(|context| {
        if client.watch.is_cut() {
            return Poll::Ready(Outcome::Cut);
        }
        let blocks = &client.thread.blocks;
        let to_upstream = poll_half(
            context,
            (&mut exchange.up, &mut up),
            (&mut client.stream, &mut *upstream),
            blocks,
        );
        let to_client = poll_half(
            context,
            (&mut exchange.down, &mut down),
            (&mut *upstream, &mut client.stream),
            blocks,
        );
        match (to_upstream, to_client) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => {
                Poll::Ready(Outcome::TunnelClosed)
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Outcome::TunnelClosed),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            (Poll::Pending, _) | (_, Poll::Pending) if !is_ending => {
                // The other end has this long to end too.
                is_ending = true;
                client.watch.set_deadline_in(visit.limits.idle_timeout);
                Poll::Pending
            }
            (Poll::Pending, _) | (_, Poll::Pending) if client.watch.is_overdue() => {
                Poll::Ready(Outcome::TunnelClosed)
            }
            (Poll::Pending, _) | (_, Poll::Pending) => Poll::Pending,
        }
    })
    .await
}

fn poll_half<From: Stream, To: Stream>(
    context: &mut Context<'_>,
    (flow, half): (&mut Flow, &mut Half),
    (source, target): (&mut From, &mut To),
    blocks: &Blocks,
) -> Poll<io::Result<()>> {
    while *half == Half::Open {
        std::task::ready!(flow.poll_write(context, target))?;
        if flow.input.is_empty() {
            match std::task::ready!(flow.input.poll_fill(context, source, blocks))? {
                Fill::Bytes | Fill::Full => {}
                Fill::End => {
                    std::task::ready!(Pin::new(&mut *target).poll_shutdown(context))?;
                    *half = Half::Ended;
                }
            }
        }
        flow.take_all();
    }
    Poll::Ready(Ok(()))
}
