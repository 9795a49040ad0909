//! Deploys, and questions about them.

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use control::Handle;
use control::api::{ApiError, Code, DeployRequest, Deployed, Failure, Planned};

use crate::IDEMPOTENCY_KEY;
use crate::failure::{Body, Refused};
use crate::peer::Peer;

/// The longest key.
const KEY_BYTES_MAX: usize = 200;

/// Says what a deploy would do, and what it would need at its peak.
#[utoipa::path(post, path = "/v1/plan", request_body = DeployRequest,
    responses((status = 200, body = Planned), (status = 400, body = ApiError)))]
pub(crate) async fn plan(
    State(control): State<Handle>,
    Body(request): Body<DeployRequest>,
) -> Result<Json<Planned>, Refused> {
    Ok(Json(control.plan(request).await?))
}

/// Takes in a deploy and says which rollouts it began. They belong to the server: nobody has to
/// wait for them.
#[utoipa::path(post, path = "/v1/deploy", request_body = DeployRequest,
    params(("idempotency-key" = Option<String>, Header,
        description = "A repeated request with the same key deploys once")),
    responses(
        (status = 200, body = Deployed),
        (status = 400, description = "It cannot work as it is", body = ApiError),
        (status = 409, description = "Another rollout is active", body = ApiError),
        (status = 503, description = "Nothing can be changed now", body = ApiError),
    ))]
pub(crate) async fn deploy(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    Body(request): Body<DeployRequest>,
) -> Result<Json<Deployed>, Refused> {
    let key = key(&headers)?;
    Ok(Json(control.deploy(request, key, peer.actor()).await?))
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Refused> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(text) if (1..=KEY_BYTES_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        Ok(_) | Err(_) => {
            let text = format!("{IDEMPOTENCY_KEY} is 1 to {KEY_BYTES_MAX} visible characters");
            Err(Refused::here(Failure::new(Code::Invalid, text)))
        }
    }
}
