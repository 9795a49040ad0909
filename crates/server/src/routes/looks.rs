//! Questions that change nothing.

use axum::Json;
use axum::extract::{Path, Query, State};
use control::Handle;
use control::api::{
    ApiError, AuditList, DoctorFacts, Explained, History, ReleaseList, StatusAnswer,
};
use model::{Receipt, RolloutId};

use crate::failure::{Refused, parsed, service};

/// How many entries are listed unless asked for otherwise, and at most.
const LIMIT: u32 = 20;
const LIMIT_MAX: u32 = 10_000;

/// Names and values of a query, in order.
pub(super) type Pairs = Query<Vec<(String, String)>>;

pub(super) fn limit(pairs: &Pairs, name: &str, default: u32) -> Result<u32, Refused> {
    match pairs.iter().find(|(key, _)| key == name) {
        Some((_, text)) => Ok(parsed::<u32>(text, "number")?.min(LIMIT_MAX)),
        None => Ok(default),
    }
}

fn number(id: &str) -> Result<RolloutId, Refused> {
    parsed::<u64>(id, "number of a rollout").map(RolloutId)
}

/// Services, releases, instances, rollouts and traffic.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, body = StatusAnswer)))]
pub(crate) async fn status(State(control): State<Handle>) -> Result<Json<StatusAnswer>, Refused> {
    Ok(Json(control.status().await?))
}

/// Past and running rollouts, the newest first.
#[utoipa::path(get, path = "/v1/history",
    params(
        ("service" = Option<String>, Query, description = "Only this service; may come several times"),
        ("limit" = Option<u32>, Query, description = "At most so many, 20 by default"),
    ),
    responses((status = 200, body = History)))]
pub(crate) async fn history(
    State(control): State<Handle>,
    pairs: Pairs,
) -> Result<Json<History>, Refused> {
    let limit = limit(&pairs, "limit", LIMIT)?;
    let names = pairs.iter().filter(|(key, _)| key == "service");
    let services: Result<Vec<_>, _> = names.map(|(_, name)| service(name)).collect();
    Ok(Json(control.history(services?, limit).await?))
}

/// The receipt of a rollout that has ended.
#[utoipa::path(get, path = "/v1/receipts/{id}",
    params(("id" = u64, Path, description = "The rollout")),
    responses(
        (status = 200, description = "The receipt, `\"v\": 1`", body = Object),
        (status = 404, body = ApiError),
        (status = 409, description = "It has not ended", body = ApiError),
    ))]
pub(crate) async fn receipt(
    State(control): State<Handle>,
    Path(id): Path<String>,
) -> Result<Json<Receipt>, Refused> {
    Ok(Json(control.receipt(number(&id)?).await?))
}

/// Everything that is known of a rollout.
#[utoipa::path(get, path = "/v1/rollouts/{id}",
    params(("id" = u64, Path, description = "The rollout")),
    responses((status = 200, body = Explained), (status = 404, body = ApiError)))]
pub(crate) async fn rollout(
    State(control): State<Handle>,
    Path(id): Path<String>,
) -> Result<Json<Explained>, Refused> {
    Ok(Json(control.explain(Some(number(&id)?)).await?))
}

/// Everything that is known of the newest rollout.
#[utoipa::path(get, path = "/v1/rollouts/newest",
    responses((status = 200, body = Explained), (status = 404, body = ApiError)))]
pub(crate) async fn newest_rollout(
    State(control): State<Handle>,
) -> Result<Json<Explained>, Refused> {
    Ok(Json(control.explain(None).await?))
}

/// The releases of a service that are kept, the oldest first.
#[utoipa::path(get, path = "/v1/releases/{service}",
    params(("service" = String, Path, description = "The service")),
    responses((status = 200, body = ReleaseList), (status = 404, body = ApiError)))]
pub(crate) async fn releases(
    State(control): State<Handle>,
    Path(name): Path<String>,
) -> Result<Json<ReleaseList>, Refused> {
    Ok(Json(control.releases(service(&name)?).await?))
}

/// What is well with the server, and what is not.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = DoctorFacts)))]
pub(crate) async fn doctor(State(control): State<Handle>) -> Result<Json<DoctorFacts>, Refused> {
    Ok(Json(control.doctor().await?))
}

/// The newest commands, accepted and refused, and whether the list was tampered with.
#[utoipa::path(get, path = "/v1/audit",
    params(("limit" = Option<u32>, Query, description = "At most so many, 20 by default")),
    responses((status = 200, body = AuditList)))]
pub(crate) async fn audit(
    State(control): State<Handle>,
    pairs: Pairs,
) -> Result<Json<AuditList>, Refused> {
    let limit = limit(&pairs, "limit", LIMIT)?;
    Ok(Json(control.audit(limit).await?))
}
