//! Everything happens to a server under load: the short form of `cargo xtask soak`.

use std::path::Path;
use std::time::Duration;

use stage::Soak;

#[test]
fn whatever_happens_every_request_has_one_end_and_every_loss_its_fault() {
    let soak = Soak {
        seed: 7,
        span: Duration::from_secs(15),
        rate: 100,
    };
    let binary = Path::new(env!("CARGO_BIN_EXE_gapless"));
    let report = soak.run(binary, |what| eprintln!("{what}")).unwrap();
    assert!(report.breaches.is_empty(), "{report:#?}");
    assert!(report.tally.sent > 0 && !report.acts.is_empty());
}
