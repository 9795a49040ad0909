//! `status`, `history`, `receipt`, `why`: they change nothing.

use std::fmt::Write;

use control::api::{Explained, History as Past};
use model::Receipt;

use crate::api::Api;
use crate::args::{Common, History, OneRollout, Services};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::render;

/// Services, releases, instances and running rollouts.
pub(crate) fn status(common: &Common, args: &Services, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let mut answer = api.status()?;
    if !args.services.is_empty() {
        answer
            .engine
            .services
            .retain(|service| args.services.iter().any(|name| name.0 == service.name));
    }
    output.json_line(&answer);
    output.text(render::status::text(&answer));
    Ok(Exit::Done)
}

/// Past rollouts, the newest first.
pub(crate) fn history(common: &Common, args: &History, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let mut query = format!("/v1/history?limit={}", args.limit);
    for name in &args.services {
        let _ = write!(query, "&service={}", name.0);
    }
    let past: Past = api.get(&query)?;
    output.json_line(&past);
    for one in &past.rollouts {
        let line = one
            .receipt
            .as_ref()
            .map_or_else(|| "running".to_owned(), render::receipt::line);
        output.text(format!(
            "{:>5}  {}  {}  {line}",
            one.rollout, one.began, one.service
        ));
    }
    if past.rollouts.is_empty() {
        output.note("no rollout yet; run `gapless deploy`");
    }
    Ok(Exit::Done)
}

/// The account of one rollout.
pub(crate) fn receipt(common: &Common, args: &OneRollout, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let id = chosen(&api, args)?;
    let receipt: Receipt = api.get(&format!("/v1/receipts/{id}"))?;
    output.receipt(&receipt);
    Ok(Exit::Done)
}

/// Why a rollout did what it did.
pub(crate) fn why(common: &Common, args: &OneRollout, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    let id = chosen(&api, args)?;
    let explained: Explained = api.get(&format!("/v1/rollouts/{id}"))?;
    output.json_line(&explained);
    output.text(render::why::text(&explained));
    Ok(Exit::Done)
}

fn chosen(api: &Api, args: &OneRollout) -> Result<u64, Trouble> {
    if let Some(id) = args.id {
        return Ok(id);
    }
    let past: Past = api.get("/v1/history?limit=1")?;
    let newest = past.rollouts.first().map(|one| one.rollout.0);
    newest.ok_or_else(|| {
        Trouble::new(Exit::Failed, "there was no rollout yet").hint("run `gapless deploy`")
    })
}
