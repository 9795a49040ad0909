//! A connection's life: request after request, until somebody says close.

use std::future::poll_fn;
use std::task::Poll;

use http1::{BodyRelay, Next};
use traffic::Rejected;

use crate::access::{Account, By, Stage, Termination};
use crate::attempt::answer;
use crate::client::{After, Client, Head};
use crate::clock::now_micros;
use crate::exchange::Exchange;
use crate::http2;
use crate::introduce::NotKnown;
use crate::reject::Reply;
use crate::room::Told;
use crate::stream::Stream;
use crate::visit::Visit;
use crate::watch::State;

/// Serves a connection to its end.
pub(crate) async fn serve<S: Stream>(mut client: Client<S>) {
    be_woken(&client).await;
    let mut state = State::Fresh;
    let mut is_known = false;
    while let Some(mut exchange) = client.first_bytes(state).await {
        let goes_on = if is_known || is_introduced(&mut client, &mut exchange).await {
            is_known = true;
            if exchange.up.input.is_empty() {
                true
            } else {
                if state == State::Fresh && client.is_http2(&mut exchange).await {
                    let read = exchange.up.input.filled().to_vec();
                    client.set_reading(false);
                    client.thread.give_back_exchange(exchange);
                    // Apart, so that connections that never need it do not have its size.
                    return Box::pin(http2::serve(client, read)).await;
                }
                state = State::Idle;
                // Apart, so that an idle connection does not have the size of a request.
                Box::pin(serve_requests(&mut client, &mut exchange)).await
            }
        } else {
            false
        };
        client.set_reading(false);
        client.thread.give_back_exchange(exchange);
        if !goes_on {
            return;
        }
    }
}

/// True once it is known whose connection this is. False: it is refused.
async fn is_introduced<S: Stream>(client: &mut Client<S>, exchange: &mut Exchange) -> bool {
    match client.introduced(exchange).await {
        Ok(()) => return true,
        Err(NotKnown::Late) => {
            let late = Reply::of(Rejected::HeadTimeout);
            client.refuse(exchange, late).await;
        }
        // Who does not speak the connection's protocol would not understand an answer.
        Err(NotKnown::Stranger) => client.thread.writer.rejected(None, Rejected::BadRequest),
        Err(NotKnown::Gone) => {}
    }
    false
}

/// Serves the requests that were read so far. True if the connection goes on.
async fn serve_requests<S: Stream>(client: &mut Client<S>, exchange: &mut Exchange) -> bool {
    loop {
        client.set_reading(true);
        exchange.begin();
        match serve_request(client, exchange).await {
            After::Answered(Next::Request) if exchange.up.input.is_empty() => return true,
            After::Answered(Next::Request) => {}
            After::Answered(Next::Close | Next::Discard | Next::Tunnel) => {
                if client.is_heard_out(exchange) {
                    client.goodbye().await;
                } else {
                    client.linger(exchange).await;
                }
                return false;
            }
            After::Gone => return false,
            After::Abort => {
                client.abort();
                return false;
            }
        }
    }
}

async fn serve_request<S: Stream>(client: &mut Client<S>, exchange: &mut Exchange) -> After {
    match client.head(exchange).await {
        Head::Whole => {}
        Head::Gone => {
            client.note_unread(Account {
                termination: Some(Termination(By::Client, Stage::Head)),
                ..Account::default()
            });
            return After::Gone;
        }
        Head::Late => {
            return client
                .refuse(exchange, Reply::of(Rejected::HeadTimeout))
                .await;
        }
        Head::Refused(refusal) => return client.refuse(exchange, Reply::refusing(refusal)).await,
    }
    let framing = exchange.request.framing();
    if !framing.is_empty() {
        exchange.up.relay = Some(BodyRelay::for_request(framing));
    }
    let mut visit = Visit::new(client, &exchange.request, now_micros());
    let after = answer(client, exchange, &mut visit).await;
    visit.note(client, &exchange.request);
    match after {
        After::Answered(Next::Discard) if client.discard(exchange, &mut visit).await => {
            After::Answered(Next::Request)
        }
        other => other,
    }
}

/// Serves a stream: one request.
pub(crate) async fn serve_stream<S: Stream>(mut client: Client<S>) -> After {
    client.watch.set_state(State::Busy);
    be_woken(&client).await;
    let mut exchange = client.thread.take_exchange();
    client.set_reading(true);
    exchange.begin();
    let after = serve_request(&mut client, &mut exchange).await;
    client.set_reading(false);
    if after == After::Abort {
        client.abort();
    }
    client.thread.give_back_exchange(exchange);
    after
}

/// From here on whoever wants something of the client's connection wakes this task.
async fn be_woken<S: Stream>(client: &Client<S>) {
    poll_fn(|context| {
        client.watch.wake_me(context);
        Poll::Ready(())
    })
    .await;
}

/// Answers a connection that is not served, unless there are too many of them, and closes it.
pub(crate) async fn turn_away<S: Stream>(mut client: Client<S>, rejected: Rejected) {
    let Some(_told) = Told::place(&client.thread) else {
        client.thread.writer.rejected(None, rejected);
        return;
    };
    client.watch.set_state(State::Busy);
    be_woken(&client).await;
    let mut exchange = client.thread.take_exchange();
    client.refuse(&mut exchange, Reply::of(rejected)).await;
    client.thread.give_back_exchange(exchange);
}
