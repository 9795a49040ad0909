//! Answers a request: attempts at endpoints until one has its outcome.

use std::future::poll_fn;

use http1::{BodyRelay, Persist, RewriteRequest, Tunnel, UpstreamSide};
use traffic::{Late, Outcome, Progress, Rejected};

use crate::access::{By, Stage};
use crate::claim::{Claim, Connection};
use crate::client::{After, Client};
use crate::clock::now_micros;
use crate::exchange::Exchange;
use crate::flow::Hold;
use crate::hedge::race;
use crate::relay::{End, Failure, Relay};
use crate::shadow::{Copy, Drawn, SHADOW};
use crate::stream::Stream;
use crate::upstream::{NoUpstream, Upstream, upstream};
use crate::visit::{Admission, Turned, Visit};

impl Failure {
    fn rejected(self) -> Rejected {
        match self {
            Self::Connect => Rejected::Connect,
            Self::NotSecured => Rejected::NotSecured,
            Self::NoResponse => Rejected::NoResponse,
            Self::BadResponse => Rejected::BadResponse,
            Self::Timeout => Rejected::Timeout,
            Self::Late(Late::Attempt) => Rejected::DeadlineTry,
            Self::Late(Late::Total) => Rejected::DeadlineTotal,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Connect | Self::NotSecured => Outcome::ConnectFailed,
            Self::NoResponse => Outcome::NoResponse,
            Self::BadResponse => Outcome::BadResponse,
            Self::Timeout | Self::Late(_) => Outcome::Timeout,
        }
    }

    /// The outcome of an attempt after which another one follows.
    fn outcome_repeated(self) -> Outcome {
        match self {
            Self::Connect | Self::NotSecured => Outcome::ConnectRepeated,
            Self::NoResponse | Self::BadResponse | Self::Late(Late::Attempt) => {
                Outcome::NoResponseRepeated
            }
            Self::Timeout | Self::Late(Late::Total) => self.outcome(),
        }
    }
}

/// How an attempt ended.
enum Attempted {
    /// With the request's outcome.
    Over(After),
    /// With this failure, which may not be the last word; the claim has not ended.
    Failed(Claim, Failure, Progress),
    /// With an answer of ours.
    Rejected(Rejected),
    /// Not at all: its endpoint has all the connections that it may have.
    Full(Claim),
}

/// Answers a request whose head was read.
pub(crate) async fn answer<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
) -> After {
    let mut claim = match visit.admitted(client, exchange).await {
        Ok(claim) => claim,
        Err(turned) => return turned_away(client, exchange, visit, turned).await,
    };
    client.set_reading(false);
    prepare(client, exchange, visit);
    loop {
        let (mut failed, failure, progress) = match attempt(client, exchange, visit, claim).await {
            Attempted::Over(after) => return after,
            Attempted::Rejected(rejected) => return client.reject(exchange, visit, rejected).await,
            Attempted::Failed(claim, failure, progress) => (claim, failure, progress),
            Attempted::Full(full) => {
                visit.took_back(full);
                match visit.admitted(client, exchange).await {
                    Ok(next) => claim = next,
                    Err(turned) => return turned_away(client, exchange, visit, turned).await,
                }
                continue;
            }
        };
        if progress == Progress::Silent {
            // The connection stands: it is the endpoint that failed.
            failed.connection = Connection::New;
        }
        match again(client, exchange, visit, (&failed, progress)) {
            Some(next) => {
                failed.end(failure.outcome_repeated());
                exchange.again();
                claim = next;
            }
            None => {
                failed.end(failure.outcome());
                return client.reject(exchange, visit, failure.rejected()).await;
            }
        }
    }
}

/// Ends a request that no endpoint could be found for.
async fn turned_away<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    turned: Turned,
) -> After {
    match turned {
        Turned::Gone => {
            visit.ended(By::Client, Stage::Queue);
            After::Gone
        }
        Turned::Away(rejected) => client.reject(exchange, visit, rejected).await,
    }
}

/// Writes the request's head for the endpoint. The same bytes serve every attempt.
fn prepare<S: Stream>(client: &Client<S>, exchange: &mut Exchange, visit: &mut Visit) {
    if let Some(version) = visit.proxy_protocol {
        let ends = (visit.caller.source(client), client.entrance.address);
        http1::write_introduction(version, ends, &mut visit.introduction);
    }
    let up = &mut exchange.up;
    let fields = visit.caller.fields(client);
    let rewrite = visit.rewrite(client, &fields);
    http1::write_request(&exchange.request, &rewrite, &mut up.out);
    up.hold = Hold::Everything;
    if let Some(drawn) = visit.drawn {
        copy(client, exchange, (visit, &drawn));
    }
}

/// Begins a copy for the service's shadow, and hands it over if no body is to come.
fn copy<S: Stream>(client: &Client<S>, exchange: &mut Exchange, (visit, drawn): (&Visit, &Drawn)) {
    let fields = visit.caller.fields(client);
    let mut replace = fields.as_slice().to_vec();
    replace.push((SHADOW, drawn.mark()));
    if drawn.compares {
        // What is packed cannot be compared field by field.
        replace.push(("accept-encoding", b""));
    }
    let rewrite = RewriteRequest {
        replace: &replace,
        tunnel: Tunnel::Refused,
        persist: Persist::Close,
        ..visit.rewrite(client, &fields)
    };
    let request = &exchange.request;
    let write = |out: &mut Vec<u8>| http1::write_request(request, &rewrite, out);
    let introduction = visit.introduction.clone();
    let copy = Copy::begin(&client.thread, drawn, request, (introduction, write));
    match copy {
        Some(copy) if exchange.up.is_body_ended() => copy.send(),
        unfinished => exchange.up.copy = unfinished,
    }
}

/// Claims an endpoint for another attempt, if one may be made.
fn again<S: Stream>(
    client: &Client<S>,
    exchange: &Exchange,
    visit: &mut Visit,
    (failed, progress): (&Claim, Progress),
) -> Option<Claim> {
    if !visit.may_repeat(&client.thread, progress, exchange.up.hold) {
        return None;
    }
    let is_unread = progress == Progress::NothingRead;
    if failed.connection == Connection::New || is_unread {
        visit.note_failed(failed.place.cell);
    }
    let claim = elsewhere(client, exchange, visit, failed);
    if claim.is_some() || !is_unread {
        return claim;
    }
    // There is no other, and this one has only refused a stream or ended a connection.
    visit.forget_failed();
    elsewhere(client, exchange, visit, failed)
}

/// Claims an endpoint after this one has failed.
pub(crate) fn elsewhere<S: Stream>(
    client: &Client<S>,
    exchange: &Exchange,
    visit: &mut Visit,
    failed: &Claim,
) -> Option<Claim> {
    visit.at = Some(failed.place.cell);
    let admission = visit.admit(client, &exchange.request);
    visit.at = None;
    match admission {
        Admission::Claimed(claim) => Some(claim),
        Admission::Wait | Admission::Full(_) | Admission::Hold(_) | Admission::Never(_) => None,
    }
}

async fn attempt<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    mut claim: Claim,
) -> Attempted {
    visit.deadlines.answered();
    let upstream = match upstream(client, exchange, visit, &mut claim).await {
        Ok(upstream) => upstream,
        Err(NoUpstream::Full) => return Attempted::Full(claim),
        Err(NoUpstream::Failed(end)) => {
            note(visit, end, Stage::Connect);
            return unfinished(claim, end, false);
        }
    };
    let fields = visit.caller.fields(client);
    let side = UpstreamSide::new(&exchange.request, &visit.rewrite(client, &fields));
    let run = Run {
        claim,
        upstream,
        side,
    };
    let (run, end, is_begun) = match relayed(client, exchange, visit, run).await {
        Ok(relayed) => relayed,
        Err((claim, end)) => {
            note(visit, end, Stage::Waiting);
            return unfinished(claim, end, false);
        }
    };
    let Run {
        claim,
        mut upstream,
        side,
    } = run;
    match end {
        End::Whole => {
            whole(client, exchange, visit, (claim, upstream, side));
            Attempted::Over(After::Answered(visit.client_side.next()))
        }
        End::Tunnel => {
            claim.opens_tunnel();
            let outcome = crate::tunnel::carry(client, exchange, visit, &mut upstream).await;
            if outcome == Outcome::Cut {
                visit.ended(By::Proxy, Stage::Tunnel);
            }
            claim.end(outcome);
            Attempted::Over(After::Gone)
        }
        end => {
            count_bytes(exchange, visit);
            note(
                visit,
                end,
                if is_begun {
                    Stage::Response
                } else {
                    Stage::Waiting
                },
            );
            unfinished(claim, end, is_begun)
        }
    }
}

/// An attempt that has a connection.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) claim: Claim,
    pub(crate) upstream: Upstream,
    pub(crate) side: UpstreamSide,
}

/// Relays the request and its response as far as they come, by a second attempt where the first
/// is slow. Returns the attempt that counts, its end, and whether a response had begun.
async fn relayed<S: Stream>(
    client: &mut Client<S>,
    exchange: &mut Exchange,
    visit: &mut Visit,
    mut run: Run,
) -> Result<(Run, End, bool), (Claim, End)> {
    let after = visit.begin_hedging(&client.thread, &exchange.request);
    let after = after.filter(|_| exchange.up.is_body_ended());
    let mut slow = after.map(|after| Box::pin(tokio::time::sleep(after)));
    loop {
        let mut relay = Relay {
            client,
            upstream: &mut run.upstream,
            connection: run.claim.connection,
            request: &exchange.request,
            response: &mut exchange.response,
            up: &mut exchange.up,
            down: &mut exchange.down,
            visit,
            upstream_side: run.side,
            slow: slow.take(),
            is_up_broken: false,
            is_begun: false,
            is_tunnel: false,
            is_patient: false,
            is_parted: false,
            is_hurried: false,
        };
        relay.begin();
        let end = poll_fn(|context| relay.poll(context)).await;
        let (is_begun, side) = (relay.is_begun, relay.upstream_side);
        run.side = side;
        if end != End::Slow {
            return Ok((run, end, is_begun));
        }
        run = Box::pin(race(client, exchange, visit, run)).await?;
    }
}

/// Notes for the access log who ended an attempt that brought no whole response. A failure that
/// may not be the last word is noted with the answer to it.
fn note(visit: &mut Visit, end: End, stage: Stage) {
    let (by, stage) = match end {
        End::Whole | End::Tunnel | End::Slow | End::Unanswered(..) => return,
        End::Truncated | End::Garbled | End::Stalled | End::Overdue => (By::Upstream, stage),
        End::ClientGone => (By::Client, stage),
        End::ClientFault(Rejected::BodyTooLarge) => (By::Proxy, Stage::Request),
        End::ClientFault(_) => (By::Client, Stage::Request),
        End::Cut | End::Parted => (By::Proxy, stage),
    };
    visit.ended(by, stage);
}

/// Notes how much of both bodies went through.
fn count_bytes(exchange: &Exchange, visit: &mut Visit) -> (u64, u64) {
    let payload = |relay: &Option<BodyRelay>| relay.as_ref().map_or(0, BodyRelay::payload_bytes);
    let (to, from) = (payload(&exchange.up.relay), payload(&exchange.down.relay));
    (visit.account.bytes_in, visit.account.bytes_out) = (to, from);
    (to, from)
}

/// What becomes of an attempt without a response when a time of its request is over.
pub(crate) fn overdue(late: Late) -> End {
    let progress = match late {
        Late::Attempt => Progress::Silent,
        Late::Total => Progress::Answered,
    };
    End::Unanswered(Failure::Late(late), progress)
}

/// Counts a whole response, and keeps the connection it came on if it can serve again.
fn whole<S: Stream>(
    client: &Client<S>,
    exchange: &Exchange,
    visit: &mut Visit,
    (claim, upstream, side): (Claim, Upstream, UpstreamSide),
) {
    let now = now_micros();
    let thread = &client.thread;
    let place = claim.place;
    let (to, from) = count_bytes(exchange, visit);
    thread.writer.bytes(place.cell, to, from);
    thread
        .writer
        .latency(place.cell, now.saturating_sub(visit.arrived_micros));
    visit.measure(thread, place.cell, now);
    claim.end(Outcome::of_status(status(&upstream, exchange)));
    if let (Upstream::Whole(link), true) = (upstream, side.may_reuse(exchange.down.input.len())) {
        thread.keep_upstream(place, link, now);
    }
}

/// The status of a whole response: of gRPC's in the words of HTTP, since all its responses are
/// the same to HTTP.
fn status(upstream: &Upstream, exchange: &Exchange) -> u16 {
    let response = &exchange.response;
    let is_grpc = || {
        let kind = response.fields().first("content-type");
        kind.is_some_and(traffic::grpc::is_grpc)
    };
    if response.status() != 200 || !upstream.may_be_grpc() || !is_grpc() {
        return response.status();
    }
    let relay = exchange.down.relay.as_ref();
    let code = relay.and_then(|relay| relay.trailer("grpc-status"));
    let code = code.or_else(|| response.fields().first("grpc-status"));
    let code = code.and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
    traffic::grpc::http_of_code(code)
}

/// Ends an attempt that brought no whole response.
fn unfinished(claim: Claim, end: End, is_begun: bool) -> Attempted {
    let (outcome, attempted) = match end {
        End::Unanswered(failure, progress) => return Attempted::Failed(claim, failure, progress),
        End::ClientFault(rejected) if !is_begun => {
            (Outcome::ClientGone, Attempted::Rejected(rejected))
        }
        End::Cut if !is_begun => (Outcome::Cut, Attempted::Rejected(Rejected::Cut)),
        End::Cut => (Outcome::Cut, Attempted::Over(After::Abort)),
        End::Parted => (Outcome::Cut, Attempted::Over(After::Gone)),
        End::Truncated => (Outcome::Truncated, Attempted::Over(After::Abort)),
        End::Garbled => (Outcome::BadResponse, Attempted::Over(After::Abort)),
        End::Stalled => (Outcome::Timeout, Attempted::Over(After::Abort)),
        End::Overdue => (Outcome::Timeout, Attempted::Over(After::Gone)),
        End::ClientFault(_) => (Outcome::ClientGone, Attempted::Over(After::Abort)),
        End::ClientGone => (Outcome::ClientGone, Attempted::Over(After::Gone)),
        End::Whole | End::Tunnel | End::Slow => unreachable!("these have their own ends"),
    };
    claim.end(outcome);
    attempted
}
