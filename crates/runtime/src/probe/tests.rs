//! Probes against small servers of this process.

mod secured;

use std::path::PathBuf;

use supervisor::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::driver::{DriverError, DriverEvent, Instance, LogPipes, Pending};

/// Knows only who owns ports.
struct Owners(Vec<PortOwner>);

macro_rules! not_asked {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name<'a>(&'a self, $($argument: $kind),*) -> Pending<'a, $result> {
            unreachable!("probes of ports do not ask for this")
        })*
    };
}

impl Driver for Owners {
    fn name(&self) -> &'static str {
        "owners"
    }
    fn owners(&self, _port: u16) -> Pending<'_, Result<Vec<PortOwner>, DriverError>> {
        Box::pin(async { Ok(self.0.clone()) })
    }
    not_asked! {
        start(_key: &'a Key, _spec: &'a StartSpec) -> Result<Instance, DriverError>;
        signal(_key: &'a Key, _signal: supervisor::Signal) -> Result<(), DriverError>;
        kill(_key: &'a Key) -> Result<(), DriverError>;
        list() -> Result<Vec<Instance>, DriverError>;
        wait(_key: &'a Key) -> Result<supervisor::ExitStatus, DriverError>;
        take_logs(_key: &'a Key) -> Result<LogPipes, DriverError>;
        acknowledge(_key: &'a Key) -> Result<(), DriverError>;
        event() -> DriverEvent;
    }
    fn listening<'a>(
        &'a self,
        _key: &'a Key,
    ) -> Pending<'a, Result<Vec<std::net::SocketAddr>, DriverError>> {
        Box::pin(async { Ok(vec!["127.0.0.1:3000".parse().unwrap()]) })
    }
}

fn spec() -> StartSpec {
    StartSpec {
        argv: Vec::new(),
        env: Vec::new(),
        cwd: PathBuf::new(),
        identity: None,
        rlimits: Vec::new(),
        limits: Limits::default(),
    }
}

/// Answers one connection with these bytes, then closes it.
async fn answering(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let count = stream.read(&mut request).await.unwrap();
        assert!(request[..count].starts_with(b"GET /healthz?full HTTP/1.1\r\n"));
        stream.write_all(answer).await.unwrap();
    });
    port
}

async fn ask(probe: &Probe, port: Option<u16>) -> Result<(), ProbeFailure> {
    ask_in(Protocol::Http1, probe, port).await
}

async fn ask_in(protocol: Protocol, probe: &Probe, port: Option<u16>) -> Result<(), ProbeFailure> {
    ask_as((protocol, None), probe, port).await
}

async fn ask_as(
    (protocol, trust): (Protocol, Option<&Arc<Trust>>),
    probe: &Probe,
    port: Option<u16>,
) -> Result<(), ProbeFailure> {
    match found_as((protocol, trust), probe, port).await {
        ProbeOutcome::Pass { .. } => Ok(()),
        ProbeOutcome::Fail(failure) => Err(failure),
    }
}

async fn found_as(
    (protocol, trust): (Protocol, Option<&Arc<Trust>>),
    probe: &Probe,
    port: Option<u16>,
) -> ProbeOutcome {
    let key = Key::try_new("web/v1/1").unwrap();
    let target = ProbeTarget {
        key: &key,
        port,
        protocol,
        trust,
        spec: &spec(),
    };
    run(&Owners(Vec::new()), probe, target, Duration::from_secs(5)).await
}

fn http(status: Option<u16>, body: Option<&str>) -> Probe {
    Probe::Http {
        path: "/healthz?full".into(),
        status,
        body: body.map(str::to_owned),
        weight: None,
    }
}

#[tokio::test]
async fn statuses_from_200_to_399_pass_unless_one_is_named() {
    for (answer, status, passes) in [
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".as_slice(),
            None,
            true,
        ),
        (
            b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
            None,
            true,
        ),
        (
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            None,
            false,
        ),
        (
            b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
            Some(503),
            true,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            Some(204),
            false,
        ),
    ] {
        let port = answering(answer).await;
        assert_eq!(ask(&http(status, None), Some(port)).await.is_ok(), passes);
    }
}

#[tokio::test]
async fn a_failure_carries_status_and_an_escaped_excerpt() {
    let port = answering(b"HTTP/1.1 500 Oops\r\n\r\nno \x1b[31mdatabase\nsorry").await;
    let failure = ask(&http(None, None), Some(port)).await.unwrap_err();
    assert_eq!(failure.reason, "status 500, expected 200 to 399");
    assert_eq!(failure.status, Some(500));
    assert_eq!(
        failure.body_excerpt.as_deref(),
        Some("no \\u{1b}[31mdatabase\nsorry")
    );
}

#[tokio::test]
async fn the_expected_text_is_found_across_chunks_or_missed() {
    let answer =
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nall\r\n5\r\n well\r\n0\r\n\r\n";
    let port = answering(answer).await;
    assert_eq!(ask(&http(None, Some("all well")), Some(port)).await, Ok(()));
    let port = answering(answer).await;
    let failure = ask(&http(None, Some("ready")), Some(port))
        .await
        .unwrap_err();
    assert_eq!(
        failure.reason,
        "status 200, but the body lacks the expected text"
    );
    assert_eq!(failure.body_excerpt.as_deref(), Some("all well"));
}

#[tokio::test]
async fn an_excerpt_is_bounded() {
    static LONG: [u8; 100_000] = [b'x'; 100_000];
    let answer = [b"HTTP/1.1 500 Oops\r\n\r\n".as_slice(), &LONG].concat();
    let port = answering(answer.leak()).await;
    let failure = ask(&http(None, None), Some(port)).await.unwrap_err();
    assert_eq!(failure.body_excerpt.unwrap().len(), EXCERPT_BYTES_MAX);
}

#[tokio::test]
async fn what_is_no_http_fails() {
    let port = answering(b"SSH-2.0-OpenSSH\r\n").await;
    let failure = ask(&http(None, None), Some(port)).await.unwrap_err();
    assert!(
        failure.reason.starts_with("cannot get an answer from"),
        "{}",
        failure.reason
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let failure = ask(&http(None, None), Some(port)).await.unwrap_err();
    assert!(
        failure.reason.starts_with("no answer within 5s"),
        "{}",
        failure.reason
    );
}

#[tokio::test]
async fn tcp_passes_where_somebody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ask(&Probe::Tcp, Some(port)).await, Ok(()));
    drop(listener);
    let failure = ask(&Probe::Tcp, Some(port)).await.unwrap_err();
    assert!(
        failure.reason.starts_with("cannot connect to 127.0.0.1:")
            && failure
                .reason
                .contains("the program listens on 127.0.0.1:3000, its $PORT is"),
        "{}",
        failure.reason
    );
    assert!(ask(&Probe::Tcp, None).await.is_err());
}

#[tokio::test]
async fn a_port_must_belong_to_the_instance_alone() {
    let key = Key::try_new("web/v2/1").unwrap();
    let owner = |pid, name: &str, key: Option<&str>| PortOwner {
        pid,
        name: name.into(),
        key: key.map(|key| Key::try_new(key).unwrap()),
    };
    let own = owner(Some(10), "web", Some("web/v2/1"));
    let cases = [
        (vec![own.clone(), own.clone()], None),
        (vec![], Some("nothing listens on port 20001")),
        (
            vec![own.clone(), owner(Some(7), "python3", None)],
            Some("port 20001 belongs to python3 (pid 7), not to this instance"),
        ),
        (
            vec![owner(Some(8), "web", Some("web/v1/1"))],
            Some("port 20001 belongs to web (pid 8) of web/v1/1, not to this instance"),
        ),
        (
            vec![owner(None, "", None)],
            Some("port 20001 belongs to a process of another user, not to this instance"),
        ),
    ];
    for (owners, expected) in cases {
        let reason = match check_port(&Owners(owners), &key, 20_001).await {
            ProbeOutcome::Pass { .. } => None,
            ProbeOutcome::Fail(failure) => Some(failure.reason),
        };
        assert_eq!(reason.as_deref(), expected);
    }
}

#[test]
fn where_a_program_listens_is_told_only_when_that_is_why() {
    let asked = "127.0.0.1:20001".parse().unwrap();
    let told = |addresses: &[&str]| {
        let all: Vec<_> = addresses.iter().map(|one| one.parse().unwrap()).collect();
        elsewhere(&all, asked)
    };
    assert_eq!(told(&["0.0.0.0:20001"]), "");
    assert_eq!(told(&["[::]:20001", "127.0.0.1:9090"]), "");
    assert_eq!(told(&[]), "; the program listens nowhere");
    assert_eq!(
        told(&["[::1]:20001"]),
        "; the program listens on [::1]:20001, its $PORT is 20001"
    );
}

/// What a program that speaks HTTP/2 answers.
#[derive(Clone, Copy)]
enum Answers {
    Text(u16, &'static str),
    /// gRPC's status, in a trailer, and the health that comes before it.
    Grpc(&'static str, u8),
    /// gRPC's status alone, in the head.
    GrpcAtOnce(&'static str),
}

/// Answers one request over HTTP/2, if it is for `path`.
async fn speaking(path: &'static str, answers: Answers) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        assert_eq!(request.uri().path_and_query().unwrap().as_str(), path);
        let head = ::http::Response::builder();
        match answers {
            Answers::Text(status, text) => {
                let head = head.status(status).body(()).unwrap();
                let mut send = respond.send_response(head, false).unwrap();
                send.send_data(text.into(), true).unwrap();
            }
            Answers::Grpc(status, health) => {
                let mut body = request.into_body();
                let question = body.data().await.unwrap().unwrap();
                assert_eq!(&question[..], b"\0\0\0\0\x06\x0a\x04shop");
                let mut send = respond
                    .send_response(head.body(()).unwrap(), false)
                    .unwrap();
                let message = vec![0, 0, 0, 0, 2, 8, health];
                send.send_data(message.into(), false).unwrap();
                let mut trailers = ::http::HeaderMap::new();
                trailers.insert("grpc-status", status.parse().unwrap());
                send.send_trailers(trailers).unwrap();
            }
            Answers::GrpcAtOnce(status) => {
                let head = head.header("grpc-status", status);
                let head = head.header("grpc-message", "no such service");
                respond.send_response(head.body(()).unwrap(), true).unwrap();
            }
        }
        let _ = connection.accept().await;
    });
    port
}

#[tokio::test]
async fn an_answer_announces_a_weight_where_it_is_asked_for_one() {
    let weighing = |name: Option<&str>| Probe::Http {
        path: "/healthz?full".into(),
        status: None,
        body: None,
        weight: name.map(str::to_owned),
    };
    for (answer, name, announced) in [
        (b"X-Weight: 3".as_slice(), Some("x-weight"), Some(3)),
        (b"X-Weight: 0", Some("x-weight"), Some(1)),
        (b"X-Weight: 1000", Some("x-weight"), Some(100)),
        (b"X-Weight: much", Some("x-weight"), None),
        (b"X-Other: 3", Some("x-weight"), None),
        (b"X-Weight: 3", None, None),
    ] {
        let answer = [
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
            answer,
            b"\r\n\r\n",
        ]
        .concat();
        let port = answering(answer.leak()).await;
        let found = found_as((Protocol::Http1, None), &weighing(name), Some(port)).await;
        let ProbeOutcome::Pass { weight, .. } = found else {
            panic!("{found:?}");
        };
        assert_eq!(weight.map(model::Weight::get), announced);
    }
}

#[tokio::test]
async fn a_program_that_speaks_http2_is_asked_so() {
    for (answers, body, reason) in [
        (Answers::Text(200, "well"), Some("well"), None),
        (
            Answers::Text(503, "busy"),
            None,
            Some("status 503, expected 200 to 399"),
        ),
        (
            Answers::Text(200, "ill"),
            Some("well"),
            Some("status 200, but the body lacks the expected text"),
        ),
    ] {
        let port = speaking("/healthz?full", answers).await;
        let asked = ask_in(Protocol::H2c, &http(None, body), Some(port)).await;
        assert_eq!(asked.err().map(|it| it.reason).as_deref(), reason);
    }
}

#[tokio::test]
async fn grpc_is_asked_in_its_own_words() {
    let probe = Probe::Grpc {
        service: "shop".to_owned(),
    };
    for (answers, reason) in [
        (Answers::Grpc("0", 1), None),
        (Answers::Grpc("0", 2), Some("the service is NOT_SERVING")),
        (Answers::GrpcAtOnce("5"), Some("grpc-status 5, expected 0")),
        (
            Answers::Text(404, ""),
            Some("status 404 without grpc-status, expected an answer of gRPC"),
        ),
    ] {
        let port = speaking("/grpc.health.v1.Health/Check", answers).await;
        let asked = ask_in(Protocol::H2c, &probe, Some(port)).await;
        assert_eq!(asked.err().map(|it| it.reason).as_deref(), reason);
    }
}

#[tokio::test]
async fn a_program_that_does_not_speak_http2_fails_its_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    });
    let failure = ask_in(Protocol::H2c, &http(None, None), Some(port)).await;
    let reason = failure.unwrap_err().reason;
    assert!(reason.contains("over HTTP/2"), "{reason}");
}
