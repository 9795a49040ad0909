//! A TCP service: the same rollouts, receipts and upgrades, without a request to be seen.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use load::{Failure, Mix};
use stage::free_address;

use crate::project::{PATIENCE, Project};

const MIX: Mix = Mix::Tcp { bytes: 60_000 };
const CANARY: &str = r#"strategy = "canary"
steps = [{ weight = "50%", for = "1s" }]
checks = [{ metric = "error_rate", max = "5%" }]
min_requests = 20"#;

/// The lines of a service that is reached here.
fn service(address: SocketAddr, more: &str) -> String {
    format!(
        "run = \"./app demo-app --tcp\"\ntcp = \"{address}\"\n\
         health = {{ tcp = true, every = \"200ms\" }}\n{more}"
    )
}

/// A project with a TCP service that was deployed once, and where it is reached.
fn deployed(more: &str) -> (Project, SocketAddr) {
    let address = free_address().unwrap();
    (Project::deployed(&service(address, more), ""), address)
}

/// A connection that was told the release, and that is kept.
struct Talk(BufReader<TcpStream>);

impl Talk {
    fn begin(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut talk = Self(BufReader::new(stream));
        assert!(talk.line().starts_with('v'));
        talk
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    fn is_echoed(&mut self) -> bool {
        let mut echo = [0; 5];
        self.0.get_mut().write_all(b"hello").is_ok()
            && self.0.read_exact(&mut echo).is_ok()
            && echo == *b"hello"
    }

    fn is_reset(&mut self) -> bool {
        let read = self.0.read(&mut [0; 16]);
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
    }
}

#[test]
fn every_strategy_moves_connections_without_losing_one_and_a_broken_canary_is_taken_back() {
    let (mut project, address) = deployed("");
    let client = project.load_of(address, 60, MIX);
    let env = |text: &str| service(address, &format!("env = {{ {text} }}"));
    let rolled = project.deploy(&env("A = \"2\""), "", &[]);
    let switched = project.deploy(
        &env("A = \"3\""),
        "strategy = \"blue_green\"\nkeep = \"1s\"",
        &[],
    );
    let canary = project.deploy(&env("FAULT = \"errors\""), CANARY, &[]);
    let tally = client.stop();
    let mut failed = 0;
    for (said, code) in [(rolled, 0), (switched, 0), (canary, 3)] {
        assert_eq!(said.code, code, "{}", said.errors);
        let receipt = &said.receipts()[0];
        assert_eq!((receipt.lost, receipt.cut), (Some(0), Some(0)));
        assert!(receipt.requests.unwrap() > 0, "{receipt:?}");
        assert!(receipt.latency_ms.during.is_none(), "{receipt:?}");
        failed += receipt.failed_by_release.unwrap();
    }
    // Whatever was not echoed byte for byte was a connection that the canary has reset.
    assert_eq!(tally.failed(), tally.count(Failure::Truncated), "{tally:?}");
    assert_eq!(tally.failed(), failed, "{tally:?}");
    assert!(failed > 0, "the canary was broken");
    for release in ["v1", "v2", "v3"] {
        assert!(tally.by_release[release] > 0, "{tally:?}");
    }
}

#[test]
fn a_killed_worker_cuts_exactly_what_was_open_and_an_upgrade_nothing() {
    let (mut project, address) = deployed("");
    let rollout = "strategy = \"blue_green\"\nkeep = \"0s\"\napprove = true";
    assert_eq!(
        project
            .deploy(&service(address, ""), rollout, &["--detach"])
            .code,
        0
    );
    project.until_waiting("gate");
    let mut talks: Vec<Talk> = (0..7).map(|_| Talk::begin(address)).collect();
    project.stage.kill_worker().unwrap();
    // The socket is the supervisor's: whoever comes now waits in it.
    let mut next = Talk::begin(address);
    assert!(talks.iter_mut().all(Talk::is_reset));
    assert!(next.is_echoed());
    assert_eq!(project.run(&["upgrade"]).code, 0);
    assert!(next.is_echoed(), "the old worker goes on with it");
    assert!(Talk::begin(address).is_echoed());
    drop(next);
    assert_eq!(project.run(&["approve"]).code, 0);
    let said = project.run(&["wait"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(
        (receipt.lost, receipt.cut),
        (Some(0), Some(7)),
        "{receipt:?}"
    );
}

#[test]
fn what_is_open_at_the_drain_limit_is_reset_and_counted() {
    let (mut project, address) = deployed("drain = \"1s\"\nreplicas = 1");
    let mut talk = Talk::begin(address);
    let again = service(address, "drain = \"1s\"\nreplicas = 1\nenv = { A = \"b\" }");
    let said = project.deploy(&again, "", &[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = &said.receipts()[0];
    assert_eq!(
        (receipt.lost, receipt.cut),
        (Some(0), Some(1)),
        "{receipt:?}"
    );
    assert!(talk.is_reset());
    assert!(Talk::begin(address).is_echoed());
}

#[test]
fn an_address_comes_and_goes_with_a_deploy_and_one_that_is_taken_is_refused() {
    let (mut project, address) = deployed("");
    assert_eq!(
        project.web()["policy"]["tcp"]["address"],
        address.to_string()
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = taken.local_addr().unwrap();
    let said = project.deploy(&service(there, ""), "", &[]);
    assert_ne!(said.code, 0);
    assert!(
        said.errors.contains(&format!("cannot listen on {there}"))
            && said
                .errors
                .contains("set another `tcp` under [service.web]"),
        "{}",
        said.errors
    );
    let mut open = Talk::begin(address);
    assert!(open.is_echoed(), "nothing has changed");
    drop(taken);
    let said = project.deploy(&service(there, ""), "", &[]);
    assert_eq!(said.code, 0, "{}", said.errors);
    assert!(Talk::begin(there).is_echoed());
    let begin = std::time::Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(
            begin.elapsed() < PATIENCE,
            "the old address is still listened on"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
