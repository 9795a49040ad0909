//! One request and its response on one connection.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a request ended that got no whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// The connection was refused or could not be made.
    Refused,
    /// The connection was closed in order before a response byte: whoever held it had read
    /// the request.
    Closed,
    /// The connection was reset before a response byte, or was closed when the request was
    /// sent: the request had not been read.
    Reset,
    /// The other side has said that it had not looked at the request: its stream was refused, or
    /// left undone at a goodbye.
    Unread,
    /// The response began and did not end.
    Truncated,
    /// No whole response in time.
    Timeout,
    /// What came was no HTTP response.
    Malformed,
}

/// A whole response, as far as the account needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The release that answered, from the program's own header.
    pub(crate) release: Option<String>,
    /// The reason, when the proxy made the response itself.
    pub(crate) proxy_error: Option<String>,
    /// Whether the connection can carry another request.
    pub(crate) keep: bool,
}

/// Sends `request` whole and reads one whole response.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<Answer, Failure> {
    if let Err(error) = stream.write_all(request).await {
        return Err(before_response(&error));
    }
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if let Some((head, answer, length)) = parse(&buffer)? {
            return body(stream, buffer.len() - head, length)
                .await
                .map(|()| answer);
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return Err(closed(stream)),
            Ok(0) => return Err(Failure::Truncated),
            Ok(_) => {}
            Err(error) if buffer.is_empty() => return Err(before_response(&error)),
            Err(_) => return Err(Failure::Truncated),
        }
    }
}

/// What an end in order means: it may have come before the request was sent, which was then
/// answered with a reset that reading does not tell of.
fn closed(stream: &TcpStream) -> Failure {
    match stream.take_error() {
        Ok(None) => Failure::Closed,
        Ok(Some(_)) | Err(_) => Failure::Reset,
    }
}

fn before_response(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Failure::Reset,
        _ => Failure::Closed,
    }
}

/// The length of the head, what it says, and the length of the body; `None`: more is needed.
fn parse(buffer: &[u8]) -> Result<Option<(usize, Answer, usize)>, Failure> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) =
        response.parse(buffer).map_err(|_| Failure::Malformed)?
    else {
        return Ok(None);
    };
    let status = response.code.ok_or(Failure::Malformed)?;
    let find = |name: &str| {
        let header = response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()
    };
    // The program this client is pointed at always states a length.
    let length = find("content-length")
        .and_then(|text| text.parse().ok())
        .ok_or(Failure::Malformed)?;
    let answer = Answer {
        status,
        release: find("x-release").map(str::to_owned),
        proxy_error: find("x-gapless-error").map(str::to_owned),
        keep: !find("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    };
    Ok(Some((head, answer, length)))
}

async fn body(stream: &mut TcpStream, already: usize, length: usize) -> Result<(), Failure> {
    let mut left = length.checked_sub(already).ok_or(Failure::Malformed)?;
    let mut chunk = [0; 4096];
    while left > 0 {
        let want = left.min(chunk.len());
        match stream.read(&mut chunk[..want]).await {
            Ok(0) | Err(_) => return Err(Failure::Truncated),
            Ok(count) => left -= count,
        }
    }
    Ok(())
}

/// Whether an idle connection is still open as far as anybody can tell.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
