//! Who needs which version of a database.

use std::collections::{BTreeMap, BTreeSet};

use model::{DatabaseName, Refusal, Release, ReleaseId, ServiceName};

use crate::state::{Service, State};

/// The services that work with a database: those with a release that names it, or that is given
/// its URL.
pub(super) struct Users {
    database: DatabaseName,
    /// The secrets that hold its URL.
    urls: BTreeSet<String>,
}

impl Users {
    pub(super) fn of(state: &State, database: &DatabaseName) -> Self {
        let services = state.services.values();
        let releases = services.flat_map(|service| service.releases.values());
        let named = releases.filter_map(|release| release.spec.database.as_ref());
        let urls = named
            .filter(|own| own.name == *database)
            .map(|own| own.url.clone());
        Self {
            database: database.clone(),
            urls: urls.collect(),
        }
    }

    pub(super) fn database(&self) -> &DatabaseName {
        &self.database
    }

    /// Whether a release is given the database.
    fn is_given(&self, release: &Release) -> bool {
        let own = release.spec.database.as_ref();
        let mut secrets = release.spec.secrets.keys();
        own.is_some_and(|own| own.name == self.database)
            || secrets.any(|name| self.urls.contains(name))
    }

    /// Whether any release of a service is given the database: another may reach it in a way that
    /// is not known.
    pub(super) fn has(&self, service: &Service) -> bool {
        let mut releases = service.releases.values();
        releases.any(|release| self.is_given(release))
    }

    /// The version that a release was made for; `None`: the tables as they are.
    pub(super) fn version<'a>(&self, release: &'a Release) -> Option<&'a str> {
        let own = release.spec.database.as_ref();
        let own = own.filter(|own| own.name == self.database)?;
        own.version
            .as_ref()
            .map(|version| version.migration.as_str())
    }

    /// A release that knows where the database is.
    pub(super) fn address(&self, state: &State) -> Option<(ServiceName, ReleaseId)> {
        let services = state
            .services
            .values()
            .filter(|service| !service.core.pruned);
        let mut known = services.filter_map(|service| {
            let active = service.core.active?;
            let own = service.releases.get(&active)?.spec.database.as_ref()?;
            (own.name == self.database).then(|| (service.name.clone(), active))
        });
        known.next()
    }

    /// The newest release of each service that works with it.
    pub(super) fn newest_releases(&self, state: &State) -> BTreeMap<ServiceName, ReleaseId> {
        let users = state.services.values().filter(|service| self.has(service));
        let newest = users.filter_map(|service| {
            let (newest, _) = service.releases.last_key_value()?;
            Some((service.name.clone(), *newest))
        });
        newest.collect()
    }
}

/// The oldest version that anything still needs.
pub(super) enum Needed {
    /// Nothing needs any.
    Nothing,
    /// This one; `None`: the tables as they are without a version.
    From {
        version: Option<String>,
        service: ServiceName,
        release: ReleaseId,
    },
}

impl Needed {
    /// Whether nothing needs what the contract of `version` removes.
    pub(super) fn allows(&self, version: &str) -> bool {
        match self {
            Self::Nothing => true,
            Self::From {
                version: oldest, ..
            } => oldest.as_deref() >= Some(version),
        }
    }

    /// For a person.
    pub(super) fn sentence(&self, database: &DatabaseName) -> String {
        match self {
            Self::Nothing => format!("nothing needs an older version of database `{database}`"),
            Self::From {
                version: Some(version),
                service,
                release,
            } => format!(
                "{release} of `{service}`, made for `{version}` of database `{database}`, still runs or may run"
            ),
            Self::From {
                version: None,
                service,
                release,
            } => format!(
                "{release} of `{service}` still runs or may run, and uses the tables of database \
                 `{database}` as they are: give it `database = \"{database}\"`"
            ),
        }
    }
}

impl Service {
    /// The releases that have an instance, or may get one without a new command.
    fn may_run(&self) -> BTreeSet<ReleaseId> {
        let mut may = self.fleet.releases();
        let (stable, candidate) = self.sides();
        may.extend([self.core.active, stable, candidate].into_iter().flatten());
        may.extend(self.core.queued.iter().map(|queued| queued.to));
        may
    }
}

pub(super) fn oldest(state: &State, database: &DatabaseName) -> Needed {
    let users = Users::of(state, database);
    let services = state.services.values().filter(|service| users.has(service));
    let needs = services.flat_map(|service| {
        service.may_run().into_iter().map(|id| {
            let release = service.releases.get(&id);
            let version = release.and_then(|release| users.version(release));
            (version.map(str::to_owned), service.name.clone(), id)
        })
    });
    match needs.min() {
        None => Needed::Nothing,
        Some((version, service, release)) => Needed::From {
            version,
            service,
            release,
        },
    }
}

/// Refuses a release that needs what the contract of a database removed, or is removing.
pub(crate) fn check(
    state: &State,
    (service, release): (&ServiceName, &Release),
) -> Result<(), Refusal> {
    let known = state.services.get(service);
    // The same content again is the same release again.
    let same = known.and_then(|known| {
        let mut releases = known.releases.values();
        releases.find(|known| known.digest == release.digest)
    });
    let id = same.map_or(release.id, |same| same.id);
    for (name, database) in &state.server.databases {
        let version = Users::of(state, name).version(release);
        let gone = match version {
            Some(version) => Some(version) < database.floor.as_deref(),
            None => database.barred.get(service) >= Some(&id),
        };
        if let Some(floor) = database.floor.as_ref().filter(|_| gone) {
            return Err(Refusal::Contracted {
                service: service.clone(),
                release: id,
                database: name.clone(),
                needs: version.map(str::to_owned),
                contracted: floor.clone(),
            });
        }
    }
    Ok(())
}
