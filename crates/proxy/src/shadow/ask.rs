//! Asks one endpoint, whose answer reaches nobody.

use std::sync::Arc;
use std::time::Duration;

use http1::Method;
use tls::Trust;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use traffic::{Endpoint, Outcome};

use super::reply::{Keep, Read, read};
use crate::http2::{Answering, single};
use crate::wire::{Wire, secure};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// Head and body.
    pub(crate) bytes: &'a [u8],
    /// What the connection begins with, before all else.
    pub(crate) introduction: &'a [u8],
    pub(crate) keep: Keep<'a>,
    /// All of it may take so long.
    pub(crate) limit: Duration,
}

/// Asks on a connection of its own.
///
/// # Errors
///
/// What became of it instead of an answer.
pub(crate) async fn ask(
    endpoint: (&Endpoint, Option<Arc<Trust>>),
    question: Question<'_>,
) -> Result<Read, Outcome> {
    let asked = tokio::time::timeout(question.limit, exchange(endpoint, question));
    asked.await.unwrap_or(Err(Outcome::Timeout))
}

async fn exchange(
    (endpoint, trust): (&Endpoint, Option<Arc<Trust>>),
    question: Question<'_>,
) -> Result<Read, Outcome> {
    let connected = TcpStream::connect(endpoint.address).await;
    let mut stream = connected.map_err(|_| Outcome::ConnectFailed)?;
    let introduced = stream.write_all(question.introduction).await;
    introduced.map_err(|_| Outcome::ConnectFailed)?;
    let stream = match (endpoint.protocol.is_secured(), trust) {
        (false, _) => Wire::Plain(stream),
        (true, Some(trust)) => secure(stream, (trust, endpoint.protocol))
            .await
            .map_err(|_| Outcome::ConnectFailed)?,
        (true, None) => return Err(Outcome::ConnectFailed),
    };
    if endpoint.protocol.is_http2() {
        let asked = (question.bytes, question.method);
        let reading = async |answer: &mut Answering| read(answer, asked.1, question.keep).await;
        return Box::pin(single(stream, asked, reading)).await;
    }
    let (mut from, mut to) = tokio::io::split(stream);
    let write = async {
        // Who answers early may not read it all: the answer says what became of it.
        let _ = to.write_all(question.bytes).await;
        let _ = to.flush().await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => Err(Outcome::NoResponse),
        answer = read(&mut from, question.method, question.keep) => answer,
    }
}
