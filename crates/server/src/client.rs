//! A client for programs that may block: the command line.

mod upload;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use control::api::ApiError;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use crate::place::Place;
use crate::{IDEMPOTENCY_KEY, SOCKET};

pub use upload::Chunks;

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no useful answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server refused.
    #[error("{0}")]
    Refused(Box<ApiError>),
    /// No server listens on the socket, or it may not be used.
    #[error("no server answers on {socket}", socket = socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or no answer came in time: the request may have been carried out.
    #[error("the answer was lost")]
    Lost(#[source] Cause),
    /// The answer is not understood.
    #[error("the answer is not understood")]
    Malformed(#[source] Cause),
    /// What was to be sent cannot be read.
    #[error("what was to be sent cannot be read")]
    Source(#[source] io::Error),
}

/// Talks to the server of one state directory, one connection a request.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    state: PathBuf,
}

impl Client {
    /// A client of the server with this state directory; whether it runs is not looked at.
    ///
    /// # Errors
    ///
    /// When no runtime can be made.
    pub fn new(state: &Path) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            state: state.to_owned(),
        })
    }

    /// Gets an answer.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`], as with every call.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.answer(request(Method::GET, path, Bytes::new()))
    }

    /// Sends JSON; with a `key` the same request is carried out once, however often it is sent.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
        key: Option<&str>,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| ClientError::Source(error.into()))?;
        let mut request = request(Method::POST, path, body.into());
        let headers = request.headers_mut();
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(key) = key {
            let value = header::HeaderValue::from_str(key);
            let value = value.map_err(|error| ClientError::Source(io::Error::other(error)))?;
            headers.insert(IDEMPOTENCY_KEY, value);
        }
        self.answer(request)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn put<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, ClientError> {
        self.answer(request(Method::PUT, path, body.into()))
    }

    /// Removes something.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn delete(&self, path: &str) -> Result<(), ClientError> {
        let removed = self.answer(request(Method::DELETE, path, Bytes::new()));
        removed.map(|_: serde_json::Value| ())
    }

    /// Whether something is there.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`] but that it is not found.
    pub fn has(&self, path: &str) -> Result<bool, ClientError> {
        match self.get::<serde_json::Value>(path) {
            Ok(_) => Ok(true),
            Err(ClientError::Refused(error)) if error.code == control::api::Code::NotFound => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends what `write` writes while it writes it, from a thread of its own.
    ///
    /// # Errors
    ///
    /// [`ClientError::Source`] when `write` fails, else any.
    pub fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        write: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static,
    ) -> Result<T, ClientError> {
        let (body, failed) = upload::begin(write);
        let mut request = Request::new(body);
        aim(&mut request, Method::POST, path);
        let answer = self.runtime.block_on(async {
            let response = self.send(request).await?;
            whole(response).await
        });
        // A stream that broke off is refused; why it did is what matters.
        match failed.source() {
            Some(source) => Err(ClientError::Source(source)),
            None => parsed(answer?),
        }
    }

    /// Hands every line of an answer to `see` as it comes, until it says to stop.
    ///
    /// # Errors
    ///
    /// Any [`ClientError`].
    pub fn lines(
        &self,
        path: &str,
        mut see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let request = request(Method::GET, path, Bytes::new());
        self.runtime.block_on(async {
            let response = self.send(request).await?;
            if response.status() != StatusCode::OK {
                return Err(refused(&whole(response).await?.1));
            }
            let mut body = response.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| ClientError::Lost(error.into()))?;
                rest.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if see(&line[..end]).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        })
    }

    fn answer<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, ClientError> {
        let answer = self.runtime.block_on(async {
            let timed = tokio::time::timeout(ANSWER_TIMEOUT, async {
                let response = self.send(request).await?;
                whole(response).await
            });
            let late = |elapsed: tokio::time::error::Elapsed| ClientError::Lost(elapsed.into());
            timed.await.map_err(late)?
        })?;
        parsed(answer)
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<Incoming>, ClientError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Cause>,
    {
        let unreachable = |source| ClientError::Unreachable {
            socket: self.state.join(SOCKET),
            source,
        };
        let place = Place::of(&self.state, SOCKET.len()).map_err(unreachable)?;
        let stream = UnixStream::connect(place.join(SOCKET))
            .await
            .map_err(unreachable)?;
        let lost = |error: hyper::Error| ClientError::Lost(error.into());
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(lost)
    }
}

fn request(method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::<Bytes>::new(body));
    aim(&mut request, method, path);
    request
}

fn aim<B>(request: &mut Request<B>, method: Method, path: &str) {
    *request.method_mut() = method;
    // A path that cannot be one is not found.
    *request.uri_mut() = path.parse().unwrap_or_default();
    let host = header::HeaderValue::from_static("gapless");
    request.headers_mut().insert(header::HOST, host);
}

async fn whole(response: Response<Incoming>) -> Result<(StatusCode, Bytes), ClientError> {
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| ClientError::Lost(error.into()))?;
    Ok((status, body.to_bytes()))
}

fn parsed<T: DeserializeOwned>((status, body): (StatusCode, Bytes)) -> Result<T, ClientError> {
    if status != StatusCode::OK {
        return Err(refused(&body));
    }
    serde_json::from_slice(&body).map_err(|error| ClientError::Malformed(error.into()))
}

fn refused(body: &[u8]) -> ClientError {
    match serde_json::from_slice::<ApiError>(body) {
        Ok(error) => ClientError::Refused(Box::new(error)),
        Err(error) => ClientError::Malformed(error.into()),
    }
}
