//! `maintenance`: closes a service, and opens it again.

use std::path::Path;

use control::api::{Accepted, MaintenanceAllow, MaintenancePage, MaintenanceRequest};
use model::Page;

use crate::api::Api;
use crate::args::{Common, Maintenance, MaintenanceOn, MaintenanceTo};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// Closes or opens a service.
pub(crate) fn run(common: &Common, args: &Maintenance, output: Output) -> Result<Exit, Trouble> {
    let service = &args.service.0;
    let path = format!("/v1/services/{service}/maintenance");
    let (accepted, text): (Accepted, String) = match &args.to {
        MaintenanceTo::On(on) => {
            let request = request(on)?;
            let text = format!(
                "{service}: new requests get 503; `gapless maintenance {service} off` opens it"
            );
            (Api::of(common)?.post(&path, &request)?, text)
        }
        MaintenanceTo::Off => {
            let path = format!("{path}/end");
            let accepted = Api::of(common)?.post(&path, &serde_json::json!({}))?;
            (accepted, format!("{service}: open again"))
        }
    };
    output.text(text);
    output.json_line(&accepted);
    Ok(Exit::Done)
}

fn request(on: &MaintenanceOn) -> Result<MaintenanceRequest, Trouble> {
    let allow = on.allow.clone();
    Ok(MaintenanceRequest {
        retry_after_seconds: u32::try_from(on.retry_after.as_secs()).unwrap_or(u32::MAX),
        page: on.page.as_deref().map(page).transpose()?,
        allow: allow.map(|(header, secret)| MaintenanceAllow { header, secret }),
    })
}

fn page(path: &Path) -> Result<MaintenancePage, Trouble> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let content_type = match extension {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some(_) | None => {
            let text = format!("{} is no page", path.display());
            return Err(Trouble::new(Exit::Usage, text).hint("name a .html, .txt or .json file"));
        }
    };
    let failed = |cause: String| {
        let text = format!("{} cannot be shown", path.display());
        Trouble::new(Exit::Usage, text).cause(cause)
    };
    let size = std::fs::metadata(path)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if size > Page::BYTES_MAX as u64 {
        return Err(failed(format!(
            "it has {size} bytes of at most {}",
            Page::BYTES_MAX
        )));
    }
    let body = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Ok(MaintenancePage {
        content_type: content_type.to_owned(),
        body,
    })
}
