//! `gapless secret`: values come from standard input and are never shown.

use std::io::{IsTerminal, Read};

use control::api::{SecretList, SecretStored};

use crate::api::Api;
use crate::args::{Common, Secret, SecretSet};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// The most bytes of a value.
const VALUE_BYTES_MAX: u64 = 64 * 1024;

/// Carries out one of set, list, rm.
pub(crate) fn run(common: &Common, args: &Secret, output: Output) -> Result<Exit, Trouble> {
    let api = Api::of(common)?;
    match args {
        Secret::Set(args) => set(&api, args, output),
        Secret::List => list(&api, output),
        Secret::Rm(args) => {
            api.delete(&format!("/v1/secrets/{}", args.name))?;
            output.text(format!("{} removed", args.name));
            output.json_line(&serde_json::json!({ "v": 1, "removed": args.name }));
            Ok(Exit::Done)
        }
    }
}

fn set(api: &Api, args: &SecretSet, output: Output) -> Result<Exit, Trouble> {
    let input = std::io::stdin();
    if input.is_terminal() {
        output.note(format!("value of {} (end with Ctrl-D):", args.name));
    }
    let mut value = Vec::new();
    let failed = |error| Trouble::new(Exit::Failed, "standard input cannot be read").cause(error);
    input
        .lock()
        .take(VALUE_BYTES_MAX + 1)
        .read_to_end(&mut value)
        .map_err(failed)?;
    if value.len() as u64 > VALUE_BYTES_MAX {
        return Err(Trouble::new(
            Exit::Usage,
            format!("the value is longer than {VALUE_BYTES_MAX} bytes"),
        ));
    }
    // A final line break comes from the terminal or `echo`, not from the secret.
    if value.ends_with(b"\n") {
        value.pop();
    }
    if value.is_empty() {
        return Err(
            Trouble::new(Exit::Usage, "the value is empty").hint(format!(
                "printf %s \"$VALUE\" | gapless secret set {}",
                args.name
            )),
        );
    }
    let retire = if args.retire { "?retire=true" } else { "" };
    let stored: SecretStored =
        api.put_bytes(&format!("/v1/secrets/{}{retire}", args.name), value)?;
    output.text(format!(
        "{} has version {}; the next deploy uses it",
        stored.name, stored.version
    ));
    output.json_line(&stored);
    Ok(Exit::Done)
}

fn list(api: &Api, output: Output) -> Result<Exit, Trouble> {
    let list: SecretList = api.get("/v1/secrets")?;
    output.json_line(&list);
    for secret in &list.secrets {
        let versions: Vec<String> = secret
            .versions
            .iter()
            .map(|version| format!("{} ({})", version.version, version.set))
            .collect();
        output.text(format!("{}: {}", secret.name, versions.join(", ")));
    }
    if list.secrets.is_empty() {
        output.note("no secrets are kept; set one with `gapless secret set NAME`");
    }
    Ok(Exit::Done)
}
