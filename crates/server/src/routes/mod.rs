//! Every path of the API, one file per subject.

pub(crate) mod access;
pub(crate) mod artifacts;
pub(crate) mod deploys;
pub(crate) mod events;
mod lines;
pub(crate) mod logs;
pub(crate) mod looks;
pub(crate) mod orders;
pub(crate) mod secrets;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use control::Handle;
use control::api::{Code, Failure};

use crate::failure::{Refused, Unaudited};
use crate::peer::Peer;

/// All routes, with the check of who asks before them.
pub(crate) fn router(control: Handle) -> Router {
    Router::new()
        .route("/v1/status", get(looks::status))
        .route("/v1/history", get(looks::history))
        .route("/v1/receipts/{id}", get(looks::receipt))
        .route("/v1/rollouts/newest", get(looks::newest_rollout))
        .route("/v1/rollouts/{id}", get(looks::rollout))
        .route("/v1/releases/{service}", get(looks::releases))
        .route("/v1/doctor", get(looks::doctor))
        .route("/v1/audit", get(looks::audit))
        .route("/v1/events", get(events::events))
        .route("/v1/logs", get(logs::logs))
        .route("/v1/access", get(access::access))
        .route("/v1/artifacts", post(artifacts::store))
        .route("/v1/artifacts/{digest}", get(artifacts::has))
        .route("/v1/plan", post(deploys::plan))
        .route("/v1/deploy", post(deploys::deploy))
        .route("/v1/services/{service}/promote", post(orders::promote))
        .route("/v1/services/{service}/hold", post(orders::hold))
        .route("/v1/services/{service}/resume", post(orders::resume))
        .route("/v1/services/{service}/approve", post(orders::approve))
        .route("/v1/services/{service}/abort", post(orders::abort))
        .route("/v1/services/{service}/rollback", post(orders::rollback))
        .route("/v1/services/{service}/scale", post(orders::scale))
        .route("/v1/services/{service}/restart", post(orders::restart))
        .route("/v1/services/{service}/stop", post(orders::stop))
        .route(
            "/v1/services/{service}/maintenance",
            post(orders::maintenance),
        )
        .route(
            "/v1/services/{service}/maintenance/end",
            post(orders::maintenance_end),
        )
        .route("/v1/services/{service}/pause", post(orders::pause))
        .route("/v1/services/{service}/pause/end", post(orders::pause_end))
        .route("/v1/instances/{instance}/drain", post(orders::drain))
        .route("/v1/databases/{database}/contract", post(orders::contract))
        .route("/v1/upgrade", post(orders::upgrade))
        .route("/v1/secrets", get(secrets::list))
        .route("/v1/secrets/{name}", put(secrets::set))
        .route("/v1/secrets/{name}", delete(secrets::remove))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
        .layer(from_fn_with_state(control.clone(), checked))
        .with_state(control)
}

async fn nothing(request: Request) -> Refused {
    let text = format!("there is no {} {}", request.method(), request.uri().path());
    Refused::here(Failure::new(Code::NotFound, text).with_hint("see `gapless api`"))
}

/// Lets in only who may use the API, and notes commands that were refused before control heard
/// of them.
async fn checked(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let (method, command) = (
        request.method().clone(),
        format!("{} {}", request.method(), request.uri().path()),
    );
    let mut response = if peer.is_allowed() {
        next.run(request).await
    } else {
        let text = "only the server's own user and root may use its API";
        Refused::here(Failure::new(Code::Forbidden, text)).into_response()
    };
    let changes = method != Method::GET && method != Method::HEAD;
    if let Some(Unaudited(failure)) = response.extensions_mut().remove()
        && (changes || failure.code == Code::Forbidden)
    {
        control.note_refused(peer.actor(), command, failure).await;
    }
    response
}
