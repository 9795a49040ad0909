//! Commands to services, rollouts and instances.

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use control::Handle;
use control::api::{
    Accepted, ApiError, ContractRequest, MaintenanceRequest, PauseRequest, PromoteRequest,
    RollbackRequest, ScaleRequest, UpgradeRequest, UpgradeView,
};
use model::{Command, DatabaseName, InstanceId, ServiceName};

use crate::failure::{Body, Refused, parsed, service};
use crate::peer::Peer;

type Answer = Result<Json<Accepted>, Refused>;

async fn order(control: &Handle, peer: Peer, command: Command) -> Answer {
    Ok(Json(control.command(command, peer.actor()).await?))
}

/// A command that needs nothing but its service.
macro_rules! plain_order {
    ($(#[$doc:meta])* $name:ident, $path:literal, $command:ident) => {
        $(#[$doc])*
        #[utoipa::path(post, path = $path,
            params(("service" = String, Path, description = "The service")),
            responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
        pub(crate) async fn $name(
            State(control): State<Handle>,
            ConnectInfo(peer): ConnectInfo<Peer>,
            Path(name): Path<String>,
        ) -> Answer {
            let service: ServiceName = service(&name)?;
            order(&control, peer, Command::$command { service }).await
        }
    };
}

plain_order!(
    /// Freezes the running rollout.
    hold, "/v1/services/{service}/hold", Hold
);
plain_order!(
    /// Goes on: ends the hold of a rollout, or the pause of a service.
    resume, "/v1/services/{service}/resume", Resume
);
plain_order!(
    /// Passes the gate that the rollout waits at.
    approve, "/v1/services/{service}/approve", Approve
);
plain_order!(
    /// Ends the running rollout and returns to the release it began from.
    abort, "/v1/services/{service}/abort", Abort
);
plain_order!(
    /// Replaces every instance by a fresh one of the same release.
    restart, "/v1/services/{service}/restart", Restart
);
plain_order!(
    /// Drains and stops all instances.
    stop, "/v1/services/{service}/stop", Stop
);

plain_order!(
    /// Lets the requests go on that a pause holds.
    pause_end, "/v1/services/{service}/pause/end", PauseEnd
);

plain_order!(
    /// Opens a service that is closed for maintenance.
    maintenance_end, "/v1/services/{service}/maintenance/end", Open
);

/// Closes a service for maintenance: new requests are answered with 503 and the page.
#[utoipa::path(post, path = "/v1/services/{service}/maintenance", request_body = MaintenanceRequest,
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn maintenance(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<MaintenanceRequest>,
) -> Answer {
    let command = Command::Close {
        service: service(&name)?,
        maintenance: request.into(),
    };
    order(&control, peer, command).await
}

/// Holds new requests of a service, for at most a minute.
#[utoipa::path(post, path = "/v1/services/{service}/pause", request_body = PauseRequest,
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn pause(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<PauseRequest>,
) -> Answer {
    let command = Command::Pause {
        service: service(&name)?,
        lasts: std::time::Duration::from_millis(request.for_ms),
    };
    order(&control, peer, command).await
}

/// Approves that what only older versions of a database needed is removed, once nothing needs it.
#[utoipa::path(post, path = "/v1/databases/{database}/contract", request_body = ContractRequest,
    params(("database" = String, Path, description = "The database")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn contract(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<ContractRequest>,
) -> Answer {
    let database: DatabaseName = service(&name)?.into();
    let at_once = request.at_once;
    order(&control, peer, Command::Contract { database, at_once }).await
}

/// Ends the present step's wait; never a gate, a failed check or missing capacity.
#[utoipa::path(post, path = "/v1/services/{service}/promote", request_body = PromoteRequest,
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn promote(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<PromoteRequest>,
) -> Answer {
    let command = Command::Promote {
        service: service(&name)?,
        full: request.full,
    };
    order(&control, peer, command).await
}

/// Starts a new rollout to an earlier release.
#[utoipa::path(post, path = "/v1/services/{service}/rollback", request_body = RollbackRequest,
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn rollback(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<RollbackRequest>,
) -> Answer {
    let command = Command::Rollback {
        service: service(&name)?,
        release: request.release,
    };
    order(&control, peer, command).await
}

/// Overrides the number of replicas until that line of the file changes.
#[utoipa::path(post, path = "/v1/services/{service}/scale", request_body = ScaleRequest,
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn scale(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    Body(request): Body<ScaleRequest>,
) -> Answer {
    let command = Command::Scale {
        service: service(&name)?,
        replicas: request.replicas,
    };
    order(&control, peer, command).await
}

/// Replaces one instance by a fresh one.
#[utoipa::path(post, path = "/v1/instances/{instance}/drain",
    params(("instance" = String, Path, description = "The instance, `web-v42-7`")),
    responses((status = 200, body = Accepted), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn drain(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
) -> Answer {
    let instance: InstanceId = parsed(&name, "instance")?;
    order(&control, peer, Command::Drain { instance }).await
}

/// Replaces the server by another binary, which the supervisor runs if nobody but its own user
/// may change it. The answer comes when the new worker has started; `status` tells how it ends.
#[utoipa::path(post, path = "/v1/upgrade", request_body = UpgradeRequest,
    responses((status = 200, body = UpgradeView), (status = 409, body = ApiError)))]
pub(crate) async fn upgrade(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Body(request): Body<UpgradeRequest>,
) -> Result<Json<UpgradeView>, Refused> {
    Ok(Json(control.upgrade(request.program, peer.actor()).await?))
}
