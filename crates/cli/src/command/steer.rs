//! Orders to the engine: promote, hold, resume, approve, abort, rollback, drain, scale, restart, stop,
//! pause.

use control::api::{Accepted, PauseRequest, PromoteRequest, RollbackRequest, ScaleRequest};
use model::ServiceName;
use serde::Serialize;

use crate::api::Api;
use crate::args::{Common, Instance, Name, Pause, Promote, Rollback, Scale, Service};
use crate::command::follow;
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// An order to a rollout, without options.
pub(crate) fn rollout(
    common: &Common,
    args: &Service,
    order: &str,
    output: Output,
) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let service = rolling(&api, args.service.as_ref())?;
    send(&api, (&service, order), &serde_json::json!({}), output)
}

/// An order to a service, without options.
pub(crate) fn plain(
    common: &Common,
    args: &Service,
    order: &str,
    output: Output,
) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let service = chosen(&api, args.service.as_ref())?;
    send(&api, (&service, order), &serde_json::json!({}), output)
}

/// `promote`, with all waits or only the present one.
pub(crate) fn promote(common: &Common, args: &Promote, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let service = rolling(&api, args.service.as_ref())?;
    send(
        &api,
        (&service, "promote"),
        &PromoteRequest { full: args.full },
        output,
    )
}

/// `scale`.
pub(crate) fn scale(common: &Common, args: &Scale, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    send(
        &api,
        (&args.service.0, "scale"),
        &ScaleRequest {
            replicas: args.replicas,
        },
        output,
    )
}

/// `pause`, and its end.
pub(crate) fn pause(common: &Common, args: &Pause, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let service = &args.service.0;
    let path = format!("/v1/services/{service}/pause");
    let (accepted, text): (Accepted, String) = if args.end {
        let accepted = api.post(&format!("{path}/end"), &serde_json::json!({}))?;
        (accepted, format!("{service}: requests go on"))
    } else {
        let for_ms = u64::try_from(args.lasts.as_millis()).unwrap_or(u64::MAX);
        let text = format!(
            "{service}: new requests are held for {:.1} s; `gapless pause {service} --end` lets them go on",
            args.lasts.as_secs_f64()
        );
        (api.post(&path, &PauseRequest { for_ms })?, text)
    };
    output.text(text);
    output.json_line(&accepted);
    Ok(Exit::Done)
}

/// `rollback`, watched unless detached.
pub(crate) fn rollback(common: &Common, args: &Rollback, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let service = chosen(&api, args.service.as_ref())?;
    let body = RollbackRequest {
        release: args.release,
    };
    let accepted: Accepted = api.post(&format!("/v1/services/{service}/rollback"), &body)?;
    let rollouts: Vec<_> = accepted.rollouts.values().copied().collect();
    if args.detach {
        output.json_line(&accepted);
        output.text(format!(
            "rollback of {service} begun; `gapless wait` picks it up"
        ));
        return Ok(Exit::Done);
    }
    follow::until_receipts(&api, &rollouts, &[], output)
}

/// `drain`.
pub(crate) fn drain(common: &Common, args: &Instance, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let accepted: Accepted = api.post(
        &format!("/v1/instances/{}/drain", args.instance),
        &serde_json::json!({}),
    )?;
    output.text(format!(
        "{}: a fresh instance takes its place, then it drains",
        args.instance
    ));
    output.json_line(&accepted);
    Ok(Exit::Done)
}

fn send(
    api: &Api,
    (service, order): (&ServiceName, &str),
    body: &impl Serialize,
    output: Output,
) -> Result<Exit, Trouble> {
    let accepted: Accepted = api.post(&format!("/v1/services/{service}/{order}"), body)?;
    output.text(format!(
        "{service}: {order} accepted; `gapless watch` shows it"
    ));
    output.json_line(&accepted);
    Ok(Exit::Done)
}

/// The service named, or the only one with a rollout, or the only one there is.
fn rolling(api: &Api, name: Option<&Name>) -> Result<ServiceName, Trouble> {
    if name.is_none() {
        let services = api.status()?.engine.services;
        let mut rolling = services.iter().filter(|service| service.rollout.is_some());
        if let (Some(only), None) = (rolling.next(), rolling.next()) {
            return Ok(only.name.clone());
        }
    }
    chosen(api, name)
}

/// The service named, or the only one there is.
pub(crate) fn chosen(api: &Api, name: Option<&Name>) -> Result<ServiceName, Trouble> {
    if let Some(name) = name {
        return Ok(name.0.clone());
    }
    let services = api.status()?.engine.services;
    match services.as_slice() {
        [only] => Ok(only.name.clone()),
        [] => {
            Err(Trouble::new(Exit::Failed, "there is no service yet").hint("run `gapless deploy`"))
        }
        several => {
            let names: Vec<&str> = several
                .iter()
                .map(|service| service.name.as_str())
                .collect();
            Err(Trouble::new(Exit::Usage, "which service?")
                .hint(format!("name one of {}", names.join(", "))))
        }
    }
}
