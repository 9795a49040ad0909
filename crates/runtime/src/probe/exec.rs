//! A program that says by its exit code how the instance is.
//!
//! It is a child of the supervisor like the instance, in the same directory,
//! environment and limits, and never outlives its time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use supervisor::{ExitStatus, Key};
use tokio::io::AsyncReadExt;

use super::{EXCERPT_BYTES_MAX, Failure, ProbeTarget, excerpt, timed_out};
use crate::driver::{Driver, DriverError, LogStream, PROBE_KEYS, StartSpec};

/// How long output may still come once the program has ended.
const OUTPUT_TIMEOUT: Duration = Duration::from_millis(100);

static PROBES: AtomicU64 = AtomicU64::new(0);

pub(super) async fn ask(
    driver: &dyn Driver,
    argv: &[String],
    target: ProbeTarget<'_>,
    timeout: Duration,
) -> Result<(), Failure> {
    let number = PROBES.fetch_add(1, Ordering::Relaxed);
    let key = Key::try_new(format!("{PROBE_KEYS}{}/{number}", std::process::id()))
        .expect("made of digits and slashes");
    let spec = StartSpec {
        argv: argv.to_vec(),
        ..target.spec.clone()
    };
    let failed = |error: DriverError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        Failure::because(format!("{error}{}", cause.unwrap_or_default()))
    };
    driver.start(&key, &spec).await.map_err(failed)?;
    let running = async {
        let logs = driver.take_logs(&key).await?;
        let output = async { tokio::join!(last_of(logs.stdout), last_of(logs.stderr)) };
        tokio::pin!(output);
        let status = tokio::select! {
            status = driver.wait(&key) => status?,
            // Whoever closes its output may still run.
            pair = &mut output => return Ok((driver.wait(&key).await?, pair)),
        };
        let rest = tokio::time::timeout(OUTPUT_TIMEOUT, output).await;
        Ok((status, rest.unwrap_or_default()))
    };
    let found = tokio::time::timeout(timeout, running).await;
    end(driver, &key).await;
    match found {
        Ok(Ok((ExitStatus::Code { code: 0 }, _))) => Ok(()),
        Ok(Ok((status, (stdout, stderr)))) => {
            let code = match status {
                ExitStatus::Code { code } => Some(code),
                ExitStatus::Signal { .. } => None,
            };
            let output = [stdout, stderr].concat();
            let shown = &output[output.len().saturating_sub(EXCERPT_BYTES_MAX)..];
            let reason = format!(
                "{} ended with {status}",
                argv.first().map_or("", String::as_str)
            );
            Err(Failure {
                reason,
                status: code,
                excerpt: excerpt(shown),
            })
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(timed_out(timeout)),
    }
}

/// Leaves nothing of a probe behind.
async fn end(driver: &dyn Driver, key: &Key) {
    let killed = driver.kill(key).await;
    let waited = driver.wait(key).await;
    let forgotten = driver.acknowledge(key).await;
    if let Err(error) = killed.and(waited.map(drop)).and(forgotten) {
        tracing::warn!(%key, %error, "an exec probe could not be cleared away");
    }
}

/// Ends probes that an earlier worker left running.
///
/// # Errors
///
/// If the driver cannot list them.
pub async fn end_abandoned(driver: &dyn Driver) -> Result<(), DriverError> {
    for instance in driver.list().await? {
        if instance.key.as_str().starts_with(PROBE_KEYS) {
            end(driver, &instance.key).await;
        }
    }
    Ok(())
}

/// Reads a stream to its end and keeps the last of it.
async fn last_of(stream: LogStream) -> Vec<u8> {
    let mut kept = stream.kept;
    let Some(mut pipe) = stream.pipe else {
        return kept;
    };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..count]);
        let surplus = kept.len().saturating_sub(EXCERPT_BYTES_MAX);
        kept.drain(..surplus);
    }
    kept
}
