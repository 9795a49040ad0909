//! What can be seen before a deploy begins that would keep it from working.

use std::collections::BTreeSet;

use model::{
    Audience, AudienceValue, InstanceId, Port, Probe, Project, Release, Service, ServiceName,
    Strategy,
};
use runtime::PortOwner;

use super::Shell;
use super::deploy::Wanted;
use super::environment::{User, find_program, path};
use crate::api::{Code, DeployRequest, Failure};

impl Shell {
    /// Everything that would keep the deploy from working, all at once.
    pub(super) fn check_wanted(
        &self,
        request: &DeployRequest,
        wanted: &Wanted,
    ) -> Result<(), Failure> {
        self.check_secrets(request, wanted)?;
        let mut problems = certificate_problems(&request.project);
        for (name, release) in &wanted.releases {
            if !self.artifacts.has(&release.spec.artifact) {
                return Err(Failure::new(
                    Code::NotFound,
                    format!("the artefact of `{name}` is not stored"),
                )
                .with_cause(release.spec.artifact.to_string())
                .with_hint("send it with POST /v1/artifacts first"));
            }
            problems.extend(self.problems(name, release));
            problems.extend(trust_problem(name, release));
            problems.extend(self.port_problem(name, release));
            problems.extend(self.plan_problems(&request.project, name, release));
        }
        if problems.is_empty() {
            return Ok(());
        }
        let error = Failure::new(Code::Invalid, "nothing was deployed");
        Err(error.with_cause(problems.remove(0)).with_evidence(problems))
    }

    /// Refuses secrets that have no value, naming the commands.
    fn check_secrets(&self, request: &DeployRequest, wanted: &Wanted) -> Result<(), Failure> {
        let known = self.newest_versions()?;
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for name in wanted.releases.keys() {
            if let Some(service) = request.project.services.get(name) {
                needed.extend(service.template.secrets.iter().cloned());
            }
        }
        for service in request.project.services.values() {
            needed.extend(audience_secrets(service));
        }
        for database in request.project.databases.values() {
            needed.extend(database.policy.migrate_url.clone());
        }
        let missing: Vec<String> = needed
            .into_iter()
            .filter(|name| !known.contains_key(name))
            .collect();
        let Some(first) = missing.first() else {
            return Ok(());
        };
        let named = missing.join("`, `");
        Err(
            Failure::new(Code::Invalid, format!("no value is set for `{named}`"))
                .with_hint(format!("set it with `gapless secret set {first}`")),
        )
    }

    /// What can be seen before the release is started that will keep it from running.
    fn problems(&self, name: &ServiceName, release: &Release) -> Vec<String> {
        let spec = &release.spec;
        let mut problems = Vec::new();
        if let Some(user) = &spec.user
            && let Err(error) = User::find(user)
        {
            problems.push(format!("`{name}`: {error}"));
        }
        let directory = self.artifacts.path(&spec.artifact);
        let path = match spec.env.get("PATH") {
            Some(path) => path.clone(),
            None => path(),
        };
        let exec = spec.health.as_ref().and_then(|health| match &health.probe {
            Probe::Exec(argv) => Some(argv),
            Probe::Http { .. } | Probe::Grpc { .. } | Probe::Tcp => None,
        });
        for argv in [Some(&spec.run), exec].into_iter().flatten() {
            // Words with variables are known only when the program starts.
            let literal = argv.0.first().is_some_and(|program| !program.contains('$'));
            if literal && let Err(error) = find_program(&argv.0, &directory, &path) {
                problems.push(format!("`{name}`: {error}"));
            }
        }
        problems
    }
}

impl Shell {
    /// A fixed port that somebody else listens on: the old instance would be stopped for nothing.
    fn port_problem(&self, name: &ServiceName, release: &Release) -> Option<String> {
        let Port::Fixed(port) = release.spec.port else {
            return None;
        };
        if runtime::ports::is_free(port) {
            return None;
        }
        let is_own = |owner: &PortOwner| {
            let instance = owner.key.as_ref()?.as_str().parse::<InstanceId>().ok()?;
            (instance.service == *name).then_some(())
        };
        let owners = self.host.owners(port);
        let stranger = owners.iter().find(|owner| is_own(owner).is_none());
        if stranger.is_none() && !owners.is_empty() {
            return None;
        }
        let by = stranger.map_or_else(
            || "a process of another user".to_owned(),
            PortOwner::to_string,
        );
        Some(format!("`{name}`: port {port} is taken by {by}"))
    }
}

/// The secrets that a service's audiences name.
fn audience_secrets(service: &Service) -> Vec<String> {
    let audiences: Vec<&Audience> = match &service.policy.rollout.strategy {
        Strategy::Canary { steps } => steps
            .iter()
            .filter_map(|step| step.audience.as_ref())
            .collect(),
        Strategy::BlueGreen(blue) => blue.preview.iter().collect(),
        Strategy::Rolling { .. } | Strategy::Recreate => Vec::new(),
    };
    let value = |audience: &Audience| match audience {
        Audience::Header { value, .. } | Audience::Cookie { value, .. } => match value {
            AudienceValue::Secret(name) => Some(name.clone()),
            AudienceValue::Plain(_) | AudienceValue::Part(_) => None,
        },
        Audience::Host(_) => None,
    };
    audiences.into_iter().filter_map(value).collect()
}

/// What a program must prove, if that cannot be read.
fn trust_problem(name: &ServiceName, release: &Release) -> Option<String> {
    let error = tls::Trust::load(release.spec.program_tls.as_ref()?).err()?;
    Some(format!("`{name}`: {}", crate::chain(&error)))
}

/// Certificates that could not be served: looked at before anything is changed.
fn certificate_problems(project: &Project) -> Vec<String> {
    let server = &project.server;
    let files = server.https.iter().flat_map(|https| &https.certificates);
    let own = project.services.values();
    let own = own.filter_map(|service| service.policy.https.clients.as_ref());
    let clients = server.https.iter();
    let clients = clients.filter_map(|https| https.clients.as_ref());
    let clients = clients.chain(own).collect::<BTreeSet<_>>().into_iter();
    let clients = clients.filter_map(|clients| tls::Clients::load(clients).err());
    files
        .filter_map(|files| tls::load(files).err())
        .chain(clients)
        .map(|error| crate::chain(&error))
        .collect()
}
