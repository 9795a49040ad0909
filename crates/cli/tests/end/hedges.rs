//! Requests that are asked of two instances.

use crate::project::Project;

const SLOW: &str = "env = { FAULT = \"latency\" }\n\
                    proxy = { hedge = { after = \"50ms\", share = \"100%\" } }";

#[test]
fn a_rolling_deploy_under_second_attempts_loses_nothing_and_counts_each_request_once() {
    let mut project = Project::deployed(SLOW, "");
    let client = project.load(50);
    let quick = SLOW.replace("latency", "none");
    let said = project.deploy(&quick, "", &[]);
    assert_eq!(said.code, 0, "{}\n{:?}", said.errors, said.receipts());
    let tally = client.stop_unharmed();
    assert!(
        tally.by_release["v1"] > 0 && tally.by_release["v2"] > 0,
        "{tally:?}"
    );
    let receipt = said.receipts().remove(0);
    assert_eq!(
        (receipt.lost, receipt.failed_by_release, receipt.cut),
        (Some(0), Some(0), Some(0)),
        "{receipt:?}"
    );
    // Every answer of the old release takes eight times as long as is waited for.
    assert!(receipt.hedged.attempts > 0, "{receipt:?}");
    assert!(receipt.hedged.won <= receipt.hedged.attempts);
    // A request at two instances is one request.
    let requests = receipt.requests.unwrap();
    assert!(requests > 0 && requests <= tally.sent, "{receipt:?}");
    let balance = receipt.balance.unwrap();
    let by_release: u64 = receipt.by_release.values().map(|one| one.requests).sum();
    assert_eq!(
        requests + balance.open_at_begin,
        by_release + balance.without_release + balance.open_at_end
    );
}
