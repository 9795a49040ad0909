//! Taking the place of a server whose supervisor died: its worker and instances still serve.
//!
//! Nothing is adopted. First our own instances become ready beside them, then the old worker is
//! told to drain, and when it has gone what it used is stopped.

use std::sync::Arc;
use std::time::Duration;

use control::Handle;
use engine::ServiceStatus;
use fleet::InstanceState;
use supervisor::LeftoverKind;
use supervisor::client::{Client, ClientError};

/// How often it is looked whether the next step can be taken.
const EVERY: Duration = Duration::from_millis(200);

/// How long our own instances may take to become ready. Old ones that serve are not stopped
/// before, but a service that can no longer start must not keep them for ever.
const READY_LIMIT: Duration = Duration::from_secs(120);

/// How long old instances may take between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Ends what a dead supervisor of this state directory left running, in the order that loses
/// nothing; does nothing when there is nothing. A worker that is left may drain for `limit`.
pub(super) async fn succeed(client: Arc<Client>, handle: Handle, limit: Duration) {
    if let Err(error) = in_order(&client, &handle, limit).await {
        tracing::error!(
            error = control::chain(&error),
            "what a dead supervisor left running is not stopped"
        );
    }
}

async fn in_order(client: &Client, handle: &Handle, limit: Duration) -> Result<(), ClientError> {
    let left = client.leftovers()?;
    if left.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        processes = left.len(),
        "a dead supervisor left processes running; they are replaced"
    );
    if tokio::time::timeout(READY_LIMIT, until_ready(handle))
        .await
        .is_err()
    {
        tracing::error!("not every service is ready; the old instances are stopped all the same");
    }
    client.stop_leftovers(LeftoverKind::Worker, limit)?;
    while client
        .leftovers()?
        .iter()
        .any(|left| left.kind == LeftoverKind::Worker)
    {
        tokio::time::sleep(EVERY).await;
    }
    client.stop_leftovers(LeftoverKind::Child, STOP_GRACE)?;
    tracing::info!("what the dead supervisor left running is replaced");
    Ok(())
}

async fn until_ready(handle: &Handle) {
    loop {
        if let Ok(status) = handle.status().await
            && status.engine.services.iter().all(is_ready)
        {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// As many instances as are wanted are ready and in the confirmed table.
fn is_ready(service: &ServiceStatus) -> bool {
    let ready = service
        .instances
        .iter()
        .filter(|one| matches!(one.state, InstanceState::Ready { .. }));
    service.active.is_none() || service.stopped || ready.count() >= service.replicas as usize
}
