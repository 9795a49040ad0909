//! What a program gets: directory, environment, user and limits of its release.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use fleet::SpawnError;
use model::{Argv, Release, ReleaseDatabase, SchemaVersion, SearchPath, ServiceName};
use runtime::{Identity, Limits, Resource, ResourceLimit, StartSpec};
use zeroize::Zeroize as _;

use super::Shell;
use crate::{database_url, search_path};

/// Where programs are looked for when the server itself was not told.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A start whose environment is wiped from memory when dropped.
pub(super) struct Start(pub(super) StartSpec);

impl Drop for Start {
    fn drop(&mut self) {
        for (_, value) in &mut self.0.env {
            value.zeroize();
        }
    }
}

/// Who the program is: beside its release, everything that its environment names.
pub(super) struct Role<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) release: &'a Release,
    /// `web-v42-7` or `job-17-before`.
    pub(super) name: &'a str,
    pub(super) port: Option<u16>,
    /// Where its connections to the database look.
    pub(super) search: Search,
    /// What only this program gets.
    pub(super) extra: BTreeMap<String, String>,
}

/// Where the connections of a program to its database look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// At the version that its release was made for.
    Version,
    /// Where the role looks by itself.
    Own,
}

fn unusable(reason: impl Into<String>) -> SpawnError {
    SpawnError::Unusable {
        reason: reason.into(),
    }
}

impl Shell {
    /// Everything needed to start `argv` in a role.
    pub(super) fn start_of(&self, argv: &Argv, role: &Role<'_>) -> Result<Start, SpawnError> {
        let spec = &role.release.spec;
        let cwd = self.artifacts.path(&spec.artifact);
        if !self.artifacts.has(&spec.artifact) {
            let reason = format!("the artefact of {} is not stored", role.release.id);
            return Err(unusable(reason));
        }
        let user = match &spec.user {
            Some(name) => Some(User::find(name).map_err(unusable)?),
            None => None,
        };
        let mut env = self.environment(role, user.as_ref())?;
        let argv = argv
            .expand(&env)
            .map_err(|error| unusable(format!("the command line cannot be made: {error}")))?;
        find_program(&argv, &cwd, env.get("PATH").map_or("", String::as_str)).map_err(unusable)?;
        self.add_secrets(role, &mut env)?;
        self.add_search_path(role, &mut env)?;
        let limits = &spec.limits;
        let files = limits.files_max.map(|max| ResourceLimit {
            resource: Resource::OpenFiles,
            max,
        });
        Ok(Start(StartSpec {
            argv,
            env: env.into_iter().collect(),
            cwd,
            identity: user.map(|user| user.identity),
            rlimits: files.into_iter().collect(),
            limits: Limits {
                memory_bytes_max: limits.memory_bytes_max,
                cpu_millis_max: limits.cpu_millis_max,
                pids_max: limits.processes_max,
            },
        }))
    }

    fn environment(
        &self,
        role: &Role<'_>,
        user: Option<&User>,
    ) -> Result<BTreeMap<String, String>, SpawnError> {
        let data = self.directory("data", (role.service, user))?;
        let temporary = self.directory("tmp", (role.service, user))?;
        let own = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = match user {
            Some(user) => user.home.clone(),
            None => own("HOME").unwrap_or_else(|| data.clone()),
        };
        let mut env = BTreeMap::from([
            ("PATH".to_owned(), path()),
            ("HOME".to_owned(), home),
            (
                "LANG".to_owned(),
                own("LANG").unwrap_or_else(|| "C.UTF-8".to_owned()),
            ),
            ("TMPDIR".to_owned(), temporary),
        ]);
        env.extend(role.release.spec.env.clone());
        env.insert("DATA".to_owned(), data);
        env.insert("GAPLESS_SERVICE".to_owned(), role.service.to_string());
        env.insert("GAPLESS_RELEASE".to_owned(), role.release.id.to_string());
        env.insert("GAPLESS_INSTANCE".to_owned(), role.name.to_owned());
        if let Some(port) = role.port {
            env.insert("PORT".to_owned(), port.to_string());
        }
        for (service, address) in self.store.internal_addresses().unwrap_or_default() {
            let name = service.as_str().to_ascii_uppercase().replace('-', "_");
            let scheme = self.scheme(&service);
            env.insert(
                format!("GAPLESS_URL_{name}"),
                format!("{scheme}://{address}"),
            );
        }
        if let (Some(version), Search::Version) = (version(role.release), role.search) {
            env.insert("GAPLESS_SCHEMA".to_owned(), version.schema.clone());
        }
        env.extend(role.extra.clone());
        Ok(env)
    }

    /// What is spoken to a service.
    pub(super) fn scheme(&self, service: &ServiceName) -> &'static str {
        match self.engine.policy(service).and_then(|policy| policy.tcp) {
            Some(_) => "tcp",
            None => "http",
        }
    }

    fn add_secrets(
        &self,
        role: &Role<'_>,
        env: &mut BTreeMap<String, String>,
    ) -> Result<(), SpawnError> {
        for (name, secret) in &role.release.spec.secrets {
            let value = self
                .secrets
                .value(&self.store, name, secret.version)
                .map_err(|error| unusable(crate::chain(&error)))?;
            env.insert(name.clone(), value.expose().to_owned());
        }
        Ok(())
    }

    /// Leads the program's connections to the version that its release was made for.
    fn add_search_path(
        &self,
        role: &Role<'_>,
        env: &mut BTreeMap<String, String>,
    ) -> Result<(), SpawnError> {
        let (Some(database), Some(version)) = (&role.release.spec.database, version(role.release))
        else {
            return Ok(());
        };
        if role.search == Search::Own {
            return Ok(());
        }
        if database.search_path == SearchPath::Pgoptions {
            let path = self.path_of(database, version)?;
            let options = env.entry("PGOPTIONS".to_owned()).or_default();
            *options = search_path::options(options, &path);
        } else if let Some(url) = env.get_mut(&database.url) {
            let told = self.url_of(url, (database, version))?;
            url.zeroize();
            *url = told;
        }
        Ok(())
    }

    /// The URL whose connections see a version.
    fn url_of(
        &self,
        url: &str,
        (database, version): (&ReleaseDatabase, &SchemaVersion),
    ) -> Result<String, SpawnError> {
        match database.search_path {
            SearchPath::Url | SearchPath::Pgoptions => {
                let path = self.path_of(database, version)?;
                Ok(search_path::in_url(url, &path))
            }
            SearchPath::Alias => Ok(database_url::in_alias(url, &version.schema)),
            SearchPath::Role => {
                let login = database_url::version_login(url, &version.schema).map_err(unusable)?;
                let login = (login.role.as_str(), login.password.as_str());
                Ok(database_url::with_login(url, login))
            }
        }
    }

    fn path_of(
        &self,
        database: &ReleaseDatabase,
        version: &SchemaVersion,
    ) -> Result<String, SpawnError> {
        let own = self.own_path(&database.name).ok_or_else(|| {
            unusable(format!(
                "where the role of database `{}` looks by itself is not known: deploy again",
                database.name
            ))
        })?;
        Ok(search_path::of(&version.schema, &own))
    }

    /// A directory of a service that outlives its releases; its own user's, if it has one.
    fn directory(
        &self,
        kind: &str,
        (service, user): (&ServiceName, Option<&User>),
    ) -> Result<String, SpawnError> {
        let path = self.state.join(kind).join(service.as_str());
        let failed = |doing: &str, error: std::io::Error| SpawnError::Unavailable {
            reason: format!("cannot {doing} {}: {error}", path.display()),
        };
        std::fs::create_dir_all(&path).map_err(|error| failed("make", error))?;
        if let Some(User { identity, .. }) = user {
            let given = std::os::unix::fs::chown(&path, Some(identity.uid), Some(identity.gid));
            match given {
                // Only root may give directories away; the program still runs, and reads them.
                Err(error) if error.kind() != std::io::ErrorKind::PermissionDenied => {
                    return Err(failed("give away", error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        path.into_os_string()
            .into_string()
            .map_err(|path| unusable(format!("{} is no UTF-8", path.display())))
    }
}

fn version(release: &Release) -> Option<&SchemaVersion> {
    release.spec.database.as_ref()?.version.as_ref()
}

/// Where programs are looked for, unless the release says otherwise.
pub(super) fn path() -> String {
    let own = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    own.unwrap_or_else(|| PATH_DEFAULT.to_owned())
}

/// A user of the machine.
pub(super) struct User {
    identity: Identity,
    home: String,
}

impl User {
    /// Looks a user up by name or number.
    pub(super) fn find(name: &str) -> Result<Self, String> {
        let users = std::fs::read_to_string("/etc/passwd")
            .map_err(|error| format!("cannot read /etc/passwd: {error}"))?;
        let known = users.lines().find_map(|line| Self::matching(line, name));
        known.ok_or_else(|| format!("there is no user `{name}` on this machine"))
    }

    fn matching(line: &str, name: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, ..] = fields[..] else {
            return None;
        };
        let identity = Identity {
            uid: uid.parse().ok()?,
            gid: gid.parse().ok()?,
        };
        let home = home.to_owned();
        (user == name || uid == name).then_some(Self { identity, home })
    }
}

/// Says why a program cannot be run, as far as can be seen from here.
pub(super) fn find_program(argv: &[String], cwd: &Path, path: &str) -> Result<(), String> {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        return Err("the command line is empty".to_owned());
    };
    if program.contains('/') {
        let file = cwd.join(program);
        return match check_file(&file) {
            Some(wrong) => Err(format!("`{program}` {wrong}; {}", content(cwd))),
            None => Ok(()),
        };
    }
    let mut places = path.split(':').filter(|place| !place.is_empty());
    if places.any(|place| check_file(&Path::new(place).join(program)).is_none()) {
        return Ok(());
    }
    let within = cwd.join(program).is_file();
    let hint = if within {
        format!("; it is in the artefact: write `./{program}`")
    } else {
        String::new()
    };
    Err(format!("`{program}` is not in PATH ({path}){hint}"))
}

fn check_file(file: &Path) -> Option<&'static str> {
    match std::fs::metadata(file) {
        Err(_) => Some("does not exist"),
        Ok(found) if !found.is_file() => Some("is no file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => {
            Some("is not executable: chmod +x it before the deploy")
        }
        Ok(_) => None,
    }
}

fn content(directory: &Path) -> String {
    let names = |entry: std::io::Result<std::fs::DirEntry>| {
        Some(entry.ok()?.file_name().to_string_lossy().into_owned())
    };
    let mut all: Vec<String> = match std::fs::read_dir(directory) {
        Ok(entries) => entries.filter_map(names).collect(),
        Err(_) => Vec::new(),
    };
    all.sort();
    let more = if all.len() > 10 { ", …" } else { "" };
    all.truncate(10);
    format!("the artefact has: {}{more}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(program: &str) -> Vec<String> {
        vec![program.to_owned()]
    }

    #[test]
    fn a_missing_program_is_named_with_what_there_is() {
        let artefact = tempfile::tempdir().unwrap();
        std::fs::write(artefact.path().join("web"), "#!/bin/sh\n").unwrap();
        let find = |program: &str| find_program(&argv(program), artefact.path(), "/bin:/usr/bin");
        let error = find("./wed").unwrap_err();
        assert!(
            error.contains("does not exist") && error.contains("has: web"),
            "{error}"
        );
        let error = find("./web").unwrap_err();
        assert!(error.contains("chmod +x"), "{error}");
        let error = find("web").unwrap_err();
        assert!(error.contains("write `./web`"), "{error}");
        assert_eq!(find("sh"), Ok(()));
        assert!(find_program(&[], artefact.path(), "").is_err());
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::find("root").unwrap();
        assert_eq!((root.identity.uid, root.identity.gid), (0, 0));
        assert_eq!(User::find("0").unwrap().identity.uid, 0);
        assert!(User::find("no-such-user-here").is_err());
    }
}
