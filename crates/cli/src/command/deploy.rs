//! `gapless deploy` and `gapless plan`: sends the whole file, and the artefacts that are new.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use control::api::{DeployRequest, Deployed, Planned};
use model::{DatabaseName, Digest, Project, RolloutId, ServiceName};
use runtime::artifact::{self, ArtifactBounds, ArtifactError};

use crate::api::Api;
use crate::args::{Common, Deploy, Name, Services};
use crate::command::{config, follow};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::{place, render};

/// How much further behind others a command that hashes artefacts stands in the line for a core:
/// a tenth of what they get, where they want all.
const HASHING_NICE: i32 = 10;

/// Rolls out what differs and watches it.
pub(crate) fn run(common: &Common, args: &Deploy, output: Output) -> Result<Exit, Trouble> {
    let (api, mut request) = prepare(common, &args.services, output)?;
    request.label.clone_from(&args.label);
    request.force = args.force;
    request.supersede = args.supersede;
    request.prune = args.prune;
    let superseded = match args.supersede {
        true => follow::running(&api, &args.services)?,
        false => Vec::new(),
    };
    let deployed: Deployed = api.deploy(&request)?;
    tell(&deployed, args, output);
    if args.detach {
        for (service, rollout) in &deployed.rollouts {
            output.text(format!(
                "rollout {rollout} of {service} begun; `gapless wait` picks it up"
            ));
        }
        return Ok(Exit::Done);
    }
    let rollouts: Vec<RolloutId> = deployed.rollouts.values().copied().collect();
    follow::until_receipts(&api, &rollouts, &superseded, output)
}

/// Says what was accepted, and what of it needs no rollout.
fn tell(deployed: &Deployed, args: &Deploy, output: Output) {
    for gone in &deployed.gone {
        output.note(format!(
            "{gone} is gone from the file and was left running; stop it with --prune"
        ));
    }
    for pruned in &deployed.pruned {
        output.text(format!(
            "{pruned} is gone from the file: it is stopped and forgotten"
        ));
    }
    for (service, release) in &deployed.releases {
        if !deployed.rollouts.contains_key(service) {
            let what = match (deployed.started.contains(service), args.force) {
                (true, _) => "it was stopped and is started again",
                (false, true) => "every instance is replaced by a fresh one",
                (false, false) => "nothing to do (--force replaces its instances)",
            };
            output.text(format!("{service} is on {release} already: {what}"));
        }
    }
    output.json_line(&serde_json::json!({
        "type": "accepted", "rollouts": deployed.rollouts, "releases": deployed.releases,
        "gone": deployed.gone, "pruned": deployed.pruned, "started": deployed.started,
    }));
}

/// Says what a deploy would do.
pub(crate) fn plan(common: &Common, args: &Services, output: Output) -> Result<Exit, Trouble> {
    let (api, request) = prepare(common, &args.services, output)?;
    let planned: Planned = api.post("/v1/plan", &request)?;
    output.json_line(&planned);
    output.text(render::plan::text(&planned));
    Ok(Exit::Done)
}

/// Checks the file and sees to it that the server has every artefact.
fn prepare(
    common: &Common,
    names: &[Name],
    output: Output,
) -> Result<(Api, DeployRequest), Trouble> {
    let file = place::config(common)?;
    let project = config::project(&file, output)?;
    let api = Api::of(common)?;
    // Hashing and packing a large artefact must not slow down what serves on the same machine.
    // Who may not wait longer than others hashes as fast as them.
    let _slower = rustix::process::nice(HASHING_NICE);
    let folder = std::path::absolute(&file).map_err(|error| {
        Trouble::new(
            Exit::Failed,
            format!("{} has no absolute path", file.display()),
        )
        .cause(error)
    })?;
    let folder = folder.parent().unwrap_or(Path::new("/")).to_owned();
    let mut artifacts = BTreeMap::new();
    for name in chosen(&project, names)? {
        let Some(service) = project.services.get(&name) else {
            continue;
        };
        let path = folder.join(&service.artifact);
        let what = What {
            name: name.as_str(),
            word: "artefact",
            key: format!("service.{name}.artifact"),
        };
        let digest = store(&api, &what, &path, output)?;
        artifacts.insert(name.clone(), digest);
    }
    let migrations = migrations(&api, (&project, &artifacts), &folder, output)?;
    let request = DeployRequest {
        project,
        artifacts,
        migrations,
        label: None,
        force: false,
        supersede: false,
        prune: false,
    };
    Ok((api, request))
}

fn chosen(project: &Project, names: &[Name]) -> Result<Vec<ServiceName>, Trouble> {
    if names.is_empty() {
        return Ok(project.services.keys().cloned().collect());
    }
    let unknown = names
        .iter()
        .find(|name| !project.services.contains_key(&name.0));
    if let Some(unknown) = unknown {
        let known: Vec<&str> = project.services.keys().map(ServiceName::as_str).collect();
        return Err(Trouble::new(
            Exit::Usage,
            format!("the file has no service `{}`", unknown.0),
        )
        .hint(format!("name one of {}", known.join(", "))));
    }
    Ok(names.iter().map(|name| name.0.clone()).collect())
}

/// Sends the migrations of the databases that the services name.
fn migrations(
    api: &Api,
    (project, artifacts): (&Project, &BTreeMap<ServiceName, Digest>),
    folder: &Path,
    output: Output,
) -> Result<BTreeMap<DatabaseName, Digest>, Trouble> {
    let chosen = artifacts.keys().filter_map(|name| {
        let service = project.services.get(name)?;
        service.template.database.as_ref()
    });
    let named: BTreeSet<&DatabaseName> = chosen.collect();
    let mut sent = BTreeMap::new();
    for name in named {
        let Some(database) = project.databases.get(name) else {
            continue;
        };
        let path = folder.join(&database.migrations);
        let what = What {
            name: name.as_str(),
            word: "directory of migrations",
            key: format!("database.{name}.migrations"),
        };
        if !path.is_dir() {
            return Err(what.unusable(&path).cause("it is no directory"));
        }
        sent.insert(name.clone(), store(api, &what, &path, output)?);
    }
    Ok(sent)
}

/// What is sent along.
struct What<'a> {
    name: &'a str,
    word: &'static str,
    /// Where the file names it.
    key: String,
}

impl What<'_> {
    fn unusable(&self, path: &Path) -> Trouble {
        let Self { name, word, key } = self;
        let what = format!("the {word} of `{name}`, {}, cannot be used", path.display());
        Trouble::new(Exit::Usage, what).hint(format!(
            "nothing was changed; see it with `gapless config explain {key}`"
        ))
    }
}

/// Sends a file or directory unless the server has it.
fn store(api: &Api, what: &What<'_>, path: &Path, output: Output) -> Result<Digest, Trouble> {
    let failed = |error: ArtifactError| what.unusable(path).cause(control::chain(&error));
    let digest = artifact::digest(path, ArtifactBounds::default()).map_err(failed)?;
    if !api.has_artifact(&digest)? {
        output.note(format!("{}: sending {}", what.name, path.display()));
        api.send_artifact(path, &digest)?;
    }
    Ok(digest)
}
