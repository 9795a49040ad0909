//! TCP services: each connection is one request, and its bytes mean nothing to us.
//!
//! Whatever ends a connection here but its own two ends is seen as a reset by both of them, so
//! that an end of ours is never taken for the end of what was being said. The kernel sees to it,
//! since sockets are closed without lingering: also when this worker is killed.

mod carry;
mod pipe;
mod way;

use std::future::poll_fn;
use std::task::Poll;

use http1::RequestHead;
use model::Revision;
use traffic::{Outcome, Rejected};

use crate::access::{By, Stage};
use crate::attempt::elsewhere;
use crate::claim::Claim;
use crate::client::Client;
use crate::clock::now_micros;
use crate::exchange::Exchange;
use crate::introduce::NotKnown;
use crate::links::Link;
use crate::presence::Asking;
use crate::reject::termination;
use crate::relay::End;
use crate::stream::{Opaque, Stream as _};
use crate::upstream::{NoUpstream, linked};
use crate::visit::{Turned, Visit};
use crate::watch::State;

use carry::{Carriage, Carried, carry};

pub(crate) use pipe::Pipes;

/// Serves a connection to its end.
pub(crate) async fn serve(mut client: Client<Opaque>) {
    poll_fn(|context| {
        client.watch.wake_me(context);
        Poll::Ready(())
    })
    .await;
    // Kept until both ends have said goodbye.
    client.stream.abort();
    client.set_reading(true);
    let mut exchange = client.thread.take_exchange();
    exchange.begin();
    exchange.request = RequestHead::default();
    if is_introduced(&mut client, &mut exchange).await {
        let mut visit = Visit::new(&client, &exchange.request, now_micros());
        pass(&mut client, &mut exchange, &mut visit).await;
        visit.note(&client, &exchange.request);
    }
    client.set_reading(false);
    client.thread.give_back_exchange(exchange);
}

/// True once it is known whose connection this is, which the first table decides.
async fn is_introduced(client: &mut Client<Opaque>, exchange: &mut Exchange) -> bool {
    client.watch.set_state(State::Waiting);
    client
        .watch
        .set_deadline_in(client.thread.settings.head_timeout);
    let has_table = poll_fn(|context| {
        let revision = client.thread.with_routing(|routing| routing.revision());
        if revision > Revision::default() {
            return Poll::Ready(Ok(()));
        }
        let gone = client.poll_gone(context, &mut exchange.up, Asking::Futile);
        match gone {
            Poll::Ready(()) => Poll::Ready(Err(NotKnown::Gone)),
            Poll::Pending if client.watch.is_overdue() => Poll::Ready(Err(NotKnown::Late)),
            Poll::Pending => Poll::Pending,
        }
    });
    let known = match has_table.await {
        Ok(()) => client.introduced(exchange).await,
        Err(why) => Err(why),
    };
    match known {
        Ok(()) => return true,
        Err(NotKnown::Late) => client.thread.writer.rejected(None, Rejected::HeadTimeout),
        Err(NotKnown::Stranger) => client.thread.writer.rejected(None, Rejected::BadRequest),
        Err(NotKnown::Gone) => {}
    }
    false
}

/// Brings a connection to an endpoint, if there is one, and carries what both say.
async fn pass(client: &mut Client<Opaque>, exchange: &mut Exchange, visit: &mut Visit) {
    let claim = match visit.admitted(client, exchange).await {
        Ok(claim) => claim,
        Err(Turned::Gone) => return visit.ended(By::Client, Stage::Queue),
        Err(Turned::Away(rejected)) => return turn_away(client, visit, rejected),
    };
    client.set_reading(false);
    let (claim, link) = match at_endpoint(client, exchange, visit, claim).await {
        Ok(there) => there,
        Err(Turned::Gone) => return visit.ended(By::Client, Stage::Connect),
        Err(Turned::Away(rejected)) => return turn_away(client, visit, rejected),
    };
    begin(client, exchange, visit, &claim);
    let carriage = Carriage {
        client,
        link,
        idle: visit.limits.tcp_idle,
    };
    let carried = carry(carriage, exchange).await;
    settle(client, visit, claim, &carried);
}

/// A connection to an endpoint. Nothing was sent yet, so every one of them is tried.
async fn at_endpoint(
    client: &mut Client<Opaque>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    mut claim: Claim,
) -> Result<(Claim, Link), Turned> {
    loop {
        match linked(client, exchange, visit, &claim).await {
            Ok(mut link) => {
                link.stream.abort();
                return Ok((claim, link));
            }
            Err(NoUpstream::Full) => {
                visit.took_back(claim);
                claim = visit.admitted(client, exchange).await?;
                continue;
            }
            Err(NoUpstream::Failed(End::Unanswered(..))) => {}
            Err(NoUpstream::Failed(End::Cut)) => {
                claim.end(Outcome::Cut);
                return Err(Turned::Away(Rejected::Cut));
            }
            Err(NoUpstream::Failed(_)) => {
                claim.end(Outcome::ClientGone);
                return Err(Turned::Gone);
            }
        }
        visit.note_failed(claim.place.cell);
        let Some(next) = elsewhere(client, exchange, visit, &claim) else {
            claim.end(Outcome::ConnectFailed);
            return Err(Turned::Away(Rejected::Connect));
        };
        claim.end(Outcome::ConnectRepeated);
        claim = next;
    }
}

/// Notes that the endpoint took the connection, and introduces it where that is asked for.
fn begin(client: &Client<Opaque>, exchange: &mut Exchange, visit: &mut Visit, claim: &Claim) {
    let now = now_micros();
    claim.opens_tunnel();
    visit.account.connected_micros = now;
    if let Some(service) = visit.service {
        let writer = &client.thread.writer;
        writer.response_begins(service, visit.arrived_micros, now);
    }
    if let Some(version) = visit.proxy_protocol {
        let ends = (visit.caller.source(client), client.entrance.address);
        http1::write_introduction(version, ends, &mut exchange.up.out);
    }
}

/// Counts a connection that has ended.
fn settle(client: &Client<Opaque>, visit: &mut Visit, claim: Claim, carried: &Carried) {
    let (to, from) = (carried.to_program, carried.to_client);
    client.thread.writer.bytes(claim.place.cell, to, from);
    let account = &mut visit.account;
    (account.bytes_in, account.bytes_out) = (to, from);
    account.begun_micros = carried.begun_micros;
    account.reason = carried.end.reason();
    if let Some(by) = carried.end.by() {
        visit.ended(by, Stage::Tunnel);
    }
    claim.end(carried.end.outcome());
}

/// Ends a connection that no endpoint gets: as a reset, since there is no language to say why in.
fn turn_away(client: &Client<Opaque>, visit: &mut Visit, rejected: Rejected) {
    visit.count_rejected(&client.thread, rejected, now_micros());
    visit.account.reason = Some(rejected.name());
    let termination = termination(rejected);
    visit.account.termination.get_or_insert(termination);
}
