//! Runs one case inside a real worker of a real supervisor.
//!
//! `runtime-stage server DIRECTORY CASE` ends with 0 if the case passes.
#![expect(clippy::unwrap_used, reason = "a case fails as a test's assertions do")]

mod conformance;
mod process;
mod stage;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use runtime::process::ProcessDriver;
use supervisor::client::Client;
use supervisor::{ExitReason, RootInstances, SupervisorConfig};

use crate::stage::{Case, Stage};

fn cases() -> impl Iterator<Item = &'static Case> {
    conformance::CASES.iter().chain(process::CASES)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[1..] {
        ["cases"] => {
            for (name, _) in cases() {
                println!("{name}");
            }
            ExitCode::SUCCESS
        }
        ["server", directory, case] => server(words[0], directory, case),
        ["worker", directory, case] => worker(directory, case),
        _ => ExitCode::from(2),
    }
}

fn server(program: &str, directory: &str, case: &str) -> ExitCode {
    let program = std::path::absolute(program).unwrap().display().to_string();
    let reason = supervisor::run(SupervisorConfig {
        version: "stage".into(),
        step_limit: Duration::from_secs(20),
        state: format!("{directory}/state").into(),
        worker_argv: vec![program, "worker".into(), directory.into(), case.into()],
        worker_identity: None,
        sockets_per_address: 1,
        ledger_bytes: 4096,
        root_instances: RootInstances::Allowed,
        drain_limit: Duration::from_secs(10),
        stop_grace: Duration::from_millis(200),
    });
    match reason {
        Ok(ExitReason::Stopped { code }) => ExitCode::from(u8::try_from(code).unwrap()),
        Ok(ExitReason::Signalled) | Err(_) => ExitCode::from(3),
    }
}

fn worker(directory: &str, name: &str) -> ExitCode {
    let client = Arc::new(Client::from_env().unwrap());
    assert!(client.acquire_control().unwrap());
    let (_, case) = cases().find(|(known, _)| *known == name).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let passed = runtime.block_on(async {
        let driver = Arc::new(ProcessDriver::new(Arc::clone(&client)).unwrap());
        let stage = Stage::new(driver, directory.into());
        tokio::spawn(case(stage)).await.is_ok()
    });
    // A case may have killed the supervisor: then it tells by a file.
    if passed {
        std::fs::write(format!("{directory}/passed"), name).unwrap();
    }
    let told = client
        .stop(i32::from(!passed))
        .and_then(|()| client.stopped());
    told.map_or(ExitCode::from(4), |()| ExitCode::SUCCESS)
}
