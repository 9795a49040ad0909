//! Asks one endpoint, whose answer reaches nobody.

use std::net::SocketAddr;
use std::time::Duration;

use http1::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use traffic::Outcome;

use super::reply::{Keep, Read, read};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) method: Method,
    /// Head and body.
    pub(crate) bytes: &'a [u8],
    pub(crate) keep: Keep<'a>,
    /// All of it may take so long.
    pub(crate) limit: Duration,
}

/// Asks on a connection of its own.
///
/// # Errors
///
/// What became of it instead of an answer.
pub(crate) async fn ask(address: SocketAddr, question: Question<'_>) -> Result<Read, Outcome> {
    let asked = tokio::time::timeout(question.limit, exchange(address, question));
    asked.await.unwrap_or(Err(Outcome::Timeout))
}

async fn exchange(address: SocketAddr, question: Question<'_>) -> Result<Read, Outcome> {
    let connected = TcpStream::connect(address).await;
    let mut stream = connected.map_err(|_| Outcome::ConnectFailed)?;
    let (mut from, mut to) = stream.split();
    let write = async {
        // Who answers early may not read it all: the answer says what became of it.
        let _ = to.write_all(question.bytes).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = write => Err(Outcome::NoResponse),
        answer = read(&mut from, question.method, question.keep) => answer,
    }
}
