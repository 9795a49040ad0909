//! The small program of the demonstration: says which release it is, and can be broken on purpose.

mod http2;
mod secure;
mod tcp;

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, channel::Channel};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub use secure::Identity;

/// How the program is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Every answer takes 400 ms.
    Latency,
    /// One answer in three is a 500.
    Errors,
    /// It ends soon after its first request.
    Crash,
    /// Requests are never answered; its health is.
    Hang,
    /// One field of `/item` has another type.
    Differ,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "latency" => Ok(Self::Latency),
            "errors" => Ok(Self::Errors),
            "crash" => Ok(Self::Crash),
            "hang" => Ok(Self::Hang),
            "differ" => Ok(Self::Differ),
            other => Err(format!(
                "`{other}` is none of none, latency, errors, crash, hang, differ"
            )),
        }
    }
}

/// What the program is told.
#[derive(Debug, Clone)]
pub struct App {
    /// The loopback port to listen on.
    pub port: u16,
    /// What it says it is, in the header `X-Release` and the body.
    pub release: String,
    /// How it is broken.
    pub fault: Fault,
    /// What its clients speak.
    pub speech: Speech,
    /// What it identifies itself with over TLS; `None`: it speaks in the clear.
    pub identity: Option<Identity>,
    /// What it says that it takes beside others, in the header `X-Weight`.
    pub weight: Option<u8>,
}

/// What the program's clients speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP.
    Http,
    /// HTTP/2 in the clear.
    H2c,
    /// Nothing: they are told the release in a line, and get back what they say.
    Tcp,
}

/// Serves until SIGTERM, then returns at once, whatever is open: a program that finishes nothing
/// by itself is the harder case for whoever stops it.
///
/// # Errors
///
/// When the port cannot be bound or no runtime can be made.
pub fn run(app: App) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(serve(app))
}

async fn serve(app: App) -> std::io::Result<()> {
    let identity = app.identity.as_ref();
    let acceptor = identity.map(|identity| secure::acceptor(identity, app.speech));
    let acceptor = acceptor.transpose()?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, app.port))).await?;
    let mut stop = signal(SignalKind::terminate())?;
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = stop.recv() => return Ok(()),
        };
        // Only delays small answers when it fails.
        let _ = stream.set_nodelay(true);
        let (app, acceptor) = (app.clone(), acceptor.clone());
        // An error here is a client that left.
        tokio::spawn(async move {
            match (app.speech, acceptor) {
                (Speech::Tcp, _) => drop(tcp::serve(app, stream).await),
                (Speech::Http | Speech::H2c, None) => talk(app, stream).await,
                (Speech::Http | Speech::H2c, Some(acceptor)) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        talk(app, stream).await;
                    }
                }
            }
        });
    }
}

/// Serves a connection in HTTP to its end.
async fn talk<S>(app: App, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if app.speech == Speech::H2c {
        let _ = http2::serve(stream, app).await;
        return;
    }
    let service = hyper::service::service_fn(move |request| answer(app.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let _ = connection.await;
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(app: App, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    suffer(app.fault, request.uri().path()).await;
    let mut response = match request.uri().path() {
        "/healthz" => text("ok\n".to_owned()),
        "/events" => events(&app),
        "/socket" => socket(request),
        path if path.starts_with("/bytes/") => bytes(path),
        path if path == "/item" || path.starts_with("/item/") => item(&app),
        _ => plain(&app, request).await,
    };
    if let Ok(release) = HeaderValue::from_str(&app.release) {
        response.headers_mut().insert("x-release", release);
    }
    if let Some(weight) = app.weight {
        let weight = HeaderValue::from(u16::from(weight));
        response.headers_mut().insert("x-weight", weight);
    }
    Ok(response)
}

/// Does to a request what the fault does.
async fn suffer(fault: Fault, path: &str) {
    let health = path == "/healthz";
    match fault {
        Fault::None | Fault::Errors | Fault::Differ => {}
        Fault::Latency if !health => tokio::time::sleep(Duration::from_millis(400)).await,
        Fault::Hang if !health => std::future::pending().await,
        Fault::Crash if !health => crash_soon(),
        Fault::Latency | Fault::Hang | Fault::Crash => {}
    }
}

fn crash_soon() {
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        std::process::exit(1);
    });
}

/// Reads the whole body, so that an upload is counted to its end.
async fn plain(app: &App, request: Request<Incoming>) -> Response<Body> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static SERVED: AtomicU64 = AtomicU64::new(0);
    let bytes = match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len(),
        Err(_) => 0,
    };
    let mut response = text(format!("{} received {bytes} bytes\n", app.release));
    if app.fault == Fault::Errors && SERVED.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

/// A document of which two fields are never the same twice.
fn item(app: &App) -> Response<Body> {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::SystemTime;
    static ITEMS: AtomicU64 = AtomicU64::new(0);
    let number = ITEMS.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:x}-{number}", std::process::id());
    let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let at = at.map_or(0, |since| since.as_nanos());
    let price = match app.fault {
        Fault::Differ => "\"1050\"",
        Fault::None | Fault::Latency | Fault::Errors | Fault::Crash | Fault::Hang => "1050",
    };
    let body = format!(r#"{{"id":"{id}","at":{at},"name":"kettle","price":{price}}}"#);
    let mut response = text(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// As many bytes as the path says, at most a gibibyte, without the memory for them.
fn bytes(path: &str) -> Response<Body> {
    static PART: [u8; 64 * 1024] = [b'x'; 64 * 1024];
    let size = path.trim_start_matches("/bytes/").parse::<u64>();
    let Some(size) = size.ok().filter(|&size| size <= 1 << 30) else {
        let mut response = text("a number of bytes, at most 1073741824\n".to_owned());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let (mut send, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(async move {
        let mut left = size;
        while left > 0 {
            let part = left.min(PART.len() as u64);
            let data = Bytes::from_static(&PART[..part as usize]);
            if send.send(Frame::data(data)).await.is_err() {
                return;
            }
            left -= part;
        }
    });
    let mut response = Response::new(body.boxed());
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(size));
    response
}

fn text(body: String) -> Response<Body> {
    Response::new(Full::new(Bytes::from(body)).boxed())
}

fn events(app: &App) -> Response<Body> {
    let (mut send, body) = Channel::<Bytes, Infallible>::new(1);
    let line = Bytes::from(format!("data: {}\n\n", app.release));
    tokio::spawn(async move {
        while send.send(Frame::data(line.clone())).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut response = Response::new(body.boxed());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
}

/// Echoes bytes after the handshake of a WebSocket (the example key of RFC 6455, section 1.3).
fn socket(request: Request<Incoming>) -> Response<Body> {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else {
            return;
        };
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = [0; 1024];
        while let Ok(count) = stream.read(&mut buffer).await {
            if count == 0 || stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut response = text(String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(
        "sec-websocket-accept",
        HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    );
    response
}
