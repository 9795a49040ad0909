//! The description of the API.

use utoipa::OpenApi;

use crate::routes::{access, artifacts, deploys, events, logs, looks, orders, secrets};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Gapless admin API",
        description = "HTTP over the Unix socket `gapless.sock` in the state directory. Every \
                       answer carries `\"v\": 1`; fields are only added.",
        license(name = "MIT OR Apache-2.0"),
    ),
    paths(
        looks::status,
        looks::history,
        looks::receipt,
        looks::rollout,
        looks::newest_rollout,
        looks::releases,
        looks::doctor,
        looks::audit,
        events::events,
        logs::logs,
        access::access,
        artifacts::store,
        artifacts::has,
        deploys::plan,
        deploys::deploy,
        orders::promote,
        orders::hold,
        orders::resume,
        orders::approve,
        orders::abort,
        orders::rollback,
        orders::scale,
        orders::restart,
        orders::stop,
        orders::drain,
        orders::maintenance,
        orders::maintenance_end,
        orders::pause,
        orders::pause_end,
        orders::contract,
        orders::upgrade,
        secrets::set,
        secrets::list,
        secrets::remove,
    )
)]
struct Description;

/// The OpenAPI description as JSON, ending with a line break.
#[must_use]
pub fn openapi() -> String {
    let text = Description::openapi().to_pretty_json();
    let mut text = text.expect("a description has text keys only");
    text.push('\n');
    text
}
