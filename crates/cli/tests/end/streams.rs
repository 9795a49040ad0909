//! Programs and clients that speak HTTP/2.

use load::{Held, HeldKind, Mix};

use crate::project::Project;

const H2C: &str = "run = \"./app demo-app --h2c\"\nprotocol = \"h2c\"";

#[test]
fn rolling_deploys_between_protocols_lose_nothing() {
    let mut project = Project::deployed("", "");
    let (streams, plain) = (
        project.load_of(project.address, 200, Mix::Streams),
        project.load(100),
    );
    for service in [H2C, H2C, ""] {
        let said = project.deploy(service, "", &[]);
        assert_eq!(said.code, 0, "{}", said.errors);
        let receipt = said.receipts().remove(0);
        assert_eq!(
            (receipt.lost, receipt.failed_by_release, receipt.cut),
            (Some(0), Some(0), Some(0)),
            "{receipt:?}"
        );
    }
    for client in [streams, plain] {
        let tally = client.stop_unharmed();
        for release in ["v1", "v2", "v3"] {
            assert!(tally.by_release[release] > 0, "{tally:?}");
        }
    }
}

#[test]
fn a_stream_of_grpc_lives_to_the_drain_limit_and_is_told_to_come_back() {
    let mut project = Project::deployed(H2C, "");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let held = Held::open(project.address, "web.localhost", HeldKind::Grpc, 4);
    project.until("open", |_| held.count().opened == 4);
    project.write(H2C, "");
    let deploying = project.redeploy(&["--detach"]);
    assert_eq!(deploying.code, 0, "{}", deploying.errors);
    project.until_waiting("drain");
    let before = held.count();
    assert_eq!(before.ended, 0, "a drain waits for them");
    project.until("past the drain", |_| held.count().ended == 4);
    assert!(held.count().bytes > before.bytes);
    assert_eq!(held.count().told, 4);
    let said = project.run(&["wait"]);
    assert_eq!(said.code, 0, "{}", said.errors);
    let receipt = said.receipts().remove(0);
    assert_eq!(
        (receipt.lost, receipt.cut),
        (Some(0), Some(4)),
        "{receipt:?}"
    );
}
