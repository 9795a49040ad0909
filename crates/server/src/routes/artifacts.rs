//! Artefacts, streamed in.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use control::Handle;
use control::api::{ApiError, ArtifactStored, Code, Failure, VERSION};
use model::Digest;

use crate::body::reader;
use crate::failure::Refused;

fn digest(text: &str) -> Result<Digest, Refused> {
    Digest::try_new(text)
        .map_err(|error| Refused::here(Failure::new(Code::Invalid, error.to_string())))
}

/// Stores an artefact and says under which digest.
#[utoipa::path(post, path = "/v1/artifacts",
    request_body(content = String, content_type = "application/x-tar",
        description = "A tar archive that ends with its own digest, as the command line makes it"),
    responses(
        (status = 200, body = ArtifactStored),
        (status = 400, description = "It is no artefact", body = ApiError),
        (status = 413, description = "It is too large", body = ApiError),
    ))]
pub(crate) async fn store(
    State(control): State<Handle>,
    body: Body,
) -> Result<Json<ArtifactStored>, Refused> {
    let (feed, reader) = reader(body);
    let feed = tokio::spawn(feed);
    let stored = control.store_artifact(reader).await;
    feed.abort();
    let digest = stored.map_err(Refused::here)?.to_string();
    Ok(Json(ArtifactStored { v: VERSION, digest }))
}

/// Says whether an artefact is stored.
#[utoipa::path(get, path = "/v1/artifacts/{digest}",
    params(("digest" = String, Path, description = "The artefact's digest")),
    responses((status = 200, body = ArtifactStored), (status = 404, body = ApiError)))]
pub(crate) async fn has(
    State(control): State<Handle>,
    Path(text): Path<String>,
) -> Result<Json<ArtifactStored>, Refused> {
    let asked = digest(&text)?;
    if control.has_artifact(asked).await? {
        return Ok(Json(ArtifactStored {
            v: VERSION,
            digest: text,
        }));
    }
    let missing = format!("artefact {text} is not stored");
    Err(Failure::new(Code::NotFound, missing).into())
}
