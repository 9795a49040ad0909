//! Secrets: values come in bodies and never go out.

use axum::Json;
use axum::extract::{ConnectInfo, Path, State};
use control::api::{ApiError, Code, Failure, SecretList, SecretStored};
use control::{Handle, Retire, SecretValue};

use super::looks::Pairs;
use crate::failure::{Refused, Whole};
use crate::peer::Peer;

/// Keeps a new version of a secret; the body is its value, byte for byte.
#[utoipa::path(put, path = "/v1/secrets/{name}",
    params(
        ("name" = String, Path, description = "Its name, as the program's environment has it"),
        ("retire" = Option<bool>, Query, description = "Older versions are never used again"),
    ),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 200, body = SecretStored), (status = 400, body = ApiError)))]
pub(crate) async fn set(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    (Path(name), pairs): (Path<String>, Pairs),
    Whole(value): Whole,
) -> Result<Json<SecretStored>, Refused> {
    let value = SecretValue::try_new(value)
        .map_err(|error| Refused::here(Failure::new(Code::Invalid, error.to_string())))?;
    let retired = pairs
        .iter()
        .any(|(key, on)| key == "retire" && on == "true");
    let retire = if retired { Retire::Older } else { Retire::None };
    let stored = control.set_secret((name, value), retire, peer.actor());
    Ok(Json(stored.await?))
}

/// Names, versions and times, never values.
#[utoipa::path(get, path = "/v1/secrets", responses((status = 200, body = SecretList)))]
pub(crate) async fn list(State(control): State<Handle>) -> Result<Json<SecretList>, Refused> {
    Ok(Json(control.secrets().await?))
}

/// Removes a secret that no release in use needs.
#[utoipa::path(delete, path = "/v1/secrets/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is gone"), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub(crate) async fn remove(
    State(control): State<Handle>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
) -> Result<Json<serde_json::Value>, Refused> {
    control.remove_secret(name.clone(), peer.actor()).await?;
    Ok(Json(serde_json::json!({ "v": 1, "removed": name })))
}
