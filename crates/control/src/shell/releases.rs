//! Releases: made once from equal content, kept, and pruned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use engine::Event;
use model::{Digest, Release, ReleaseDatabase, ReleaseId, ServiceName};
use tokio::time::Instant;

use super::Shell;
use super::answers::store_failed;
use crate::api::{Code, Failure, ReleaseList, ReleaseView, VERSION};
use crate::clock::rfc3339;
use crate::digest;
use crate::store::StoreError;

/// How long an artefact that was stored or asked about waits for its deploy.
const SPARED: Duration = Duration::from_secs(60 * 60);

impl Shell {
    /// The release that a template with these secrets' versions is; not written down.
    pub(super) fn release_for(
        &self,
        (service, template): (&ServiceName, &model::ReleaseTemplate),
        (artifact, database): (Digest, Option<ReleaseDatabase>),
        versions: &BTreeMap<String, u32>,
    ) -> Result<Release, StoreError> {
        let spec = template.complete(artifact, versions, database);
        let digest = digest::of_release(&spec);
        if let Some(known) = self.store.release_by_digest(service, &digest)? {
            return Ok(known);
        }
        Ok(Release {
            id: self.store.next_release(service)?,
            digest,
            label: None,
            spec,
        })
    }

    /// Prunes releases beyond the number that is kept, and artefacts that none needs.
    pub(super) fn prune(&mut self, keep: u32) {
        let status = self.engine.status(self.clock.now());
        for service in status.services {
            if let Err(error) = self.prune_service(&service.name, keep) {
                tracing::warn!(service = %service.name, error = error.chain(), "nothing is pruned");
            }
        }
        self.collect_artifacts();
    }

    fn prune_service(&mut self, service: &ServiceName, keep: u32) -> Result<(), StoreError> {
        let in_use = self.engine.in_use(service);
        let kept = self.store.releases(service)?;
        let idle: Vec<ReleaseId> = kept
            .iter()
            .map(|(release, _)| release.id)
            .filter(|release| !in_use.contains(release))
            .collect();
        let surplus = idle.len().saturating_sub(keep as usize);
        if surplus == 0 {
            return Ok(());
        }
        let releases = idle[..surplus].to_vec();
        self.store.prune_releases(service, &releases)?;
        self.queue.push_back(Event::Pruned {
            service: service.clone(),
            releases,
        });
        Ok(())
    }

    /// Removes artefacts that no kept release needs; not while one arrives.
    fn collect_artifacts(&self) {
        let Ok(quiet) = Arc::clone(&self.uploads).try_write_owned() else {
            return;
        };
        let Ok(mut needed) = self.store.artifacts_in_use() else {
            return;
        };
        needed.extend(self.artifacts_of_engine());
        let (artifacts, spared) = (Arc::clone(&self.artifacts), self.fresh_artifacts());
        tokio::task::spawn_blocking(move || {
            for digest in artifacts.list().unwrap_or_default() {
                if needed.contains(digest.as_str()) || spared.contains(&digest) {
                    continue;
                }
                if let Err(error) = artifacts.remove(&digest) {
                    tracing::warn!(%digest, %error, "an artefact is not removed");
                }
            }
            drop(quiet);
        });
    }

    /// Keeps an artefact from being collected while a deploy of it may follow.
    pub(crate) fn spare_artifact(&mut self, digest: Digest) {
        let now = Instant::now();
        self.fresh_artifacts
            .retain(|_, since| now - *since < SPARED);
        self.fresh_artifacts.insert(digest, now);
    }

    fn fresh_artifacts(&self) -> BTreeSet<Digest> {
        let now = Instant::now();
        let fresh = self.fresh_artifacts.iter();
        let fresh = fresh.filter(|(_, since)| now - **since < SPARED);
        fresh.map(|(digest, _)| digest.clone()).collect()
    }

    fn artifacts_of_engine(&self) -> BTreeSet<String> {
        let status = self.engine.status(self.clock.now());
        let mut all = BTreeSet::new();
        for service in &status.services {
            for release in self.engine.in_use(&service.name) {
                if let Some(release) = self.engine.release(&service.name, release) {
                    all.insert(release.spec.artifact.to_string());
                    let database = release.spec.database.as_ref();
                    all.extend(database.map(|database| database.migrations.to_string()));
                }
            }
        }
        all
    }

    pub(crate) fn release_list(&self, service: &ServiceName) -> Result<ReleaseList, Failure> {
        let kept = self
            .store
            .releases(service)
            .map_err(|error| store_failed(&error))?;
        let status = self.engine.status(self.clock.now());
        let own = status.services.iter().find(|own| own.name == *service);
        if own.is_none() && kept.is_empty() {
            return Err(Failure::new(
                Code::NotFound,
                format!("there is no service `{service}`"),
            ));
        }
        let view = |(release, made_ms): (Release, i64)| ReleaseView {
            release: release.id,
            digest: release.digest.to_string(),
            label: release.label,
            artifact: release.spec.artifact.to_string(),
            made: rfc3339(made_ms),
            active: own.is_some_and(|own| own.active == Some(release.id)),
            previous: own.is_some_and(|own| own.previous == Some(release.id)),
        };
        Ok(ReleaseList {
            v: VERSION,
            releases: kept.into_iter().map(view).collect(),
        })
    }
}
