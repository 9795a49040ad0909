//! Secrets by name: set, listed without values, removed.

use std::collections::BTreeMap;

use model::{ReleaseId, ServiceName};

use super::Shell;
use super::answers::store_failed;
use crate::api::{Code, Failure, SecretList, SecretStored, SecretVersion, SecretView, VERSION};
use crate::clock::rfc3339;
use crate::secret::{Retire, SecretError, SecretValue};

impl Shell {
    pub(crate) fn set_secret(
        &mut self,
        name: &str,
        value: &SecretValue,
        retire: Retire,
    ) -> Result<SecretStored, Failure> {
        let set = self.secrets.set(&mut self.store, (name, value), retire);
        let version = set.map_err(|error| secret_failed(&error))?;
        Ok(SecretStored {
            v: VERSION,
            name: name.to_owned(),
            version,
        })
    }

    pub(crate) fn secret_list(&self) -> Result<SecretList, Failure> {
        let all = self.store.secret_versions();
        let version = |(version, set_ms)| SecretVersion {
            version,
            set: rfc3339(set_ms),
        };
        let view = |(name, versions): (String, Vec<(u32, i64)>)| SecretView {
            name,
            versions: versions.into_iter().map(version).collect(),
        };
        Ok(SecretList {
            v: VERSION,
            secrets: all
                .map_err(|error| store_failed(&error))?
                .into_iter()
                .map(view)
                .collect(),
        })
    }

    /// Removes a secret, unless a release that runs or may be returned to needs it.
    pub(crate) fn remove_secret(&mut self, name: &str) -> Result<(), Failure> {
        if let Some((service, release)) = self.user_of_secret(name) {
            return Err(Failure::new(
                Code::Refused,
                format!("`{name}` is used by {release} of `{service}`"),
            )
            .with_hint(format!(
                "set a new value with `gapless secret set {name} --retire`, or deploy without it first"
            )));
        }
        let removed = self.store.remove_secret(name);
        if removed.map_err(|error| store_failed(&error))? {
            Ok(())
        } else {
            let text = format!("there is no secret `{name}`");
            Err(Failure::new(Code::NotFound, text).with_hint("see `gapless secret list`"))
        }
    }

    fn user_of_secret(&self, name: &str) -> Option<(ServiceName, ReleaseId)> {
        let status = self.engine.status(self.clock.now());
        status.services.iter().find_map(|service| {
            let in_use = self.engine.in_use(&service.name).into_iter();
            let mut releases = in_use.filter_map(|id| self.engine.release(&service.name, id));
            let user = releases.find(|release| release.spec.secrets.contains_key(name))?;
            Some((service.name.clone(), user.id))
        })
    }

    /// The newest version of each secret.
    pub(super) fn newest_versions(&self) -> Result<BTreeMap<String, u32>, Failure> {
        let all = self.store.secret_versions();
        let all = all.map_err(|error| store_failed(&error))?;
        let newest = |(name, versions): (String, Vec<(u32, i64)>)| {
            let (version, _) = versions.last()?;
            Some((name, *version))
        };
        Ok(all.into_iter().filter_map(newest).collect())
    }
}

fn secret_failed(error: &SecretError) -> Failure {
    match error {
        SecretError::Name(_) | SecretError::Value => Failure::new(Code::Invalid, error.to_string()),
        SecretError::Missing { .. } => Failure::new(Code::NotFound, error.to_string()),
        SecretError::Sealed { .. } | SecretError::Key { .. } => {
            Failure::new(Code::Internal, "secrets cannot be used").with_cause(crate::chain(error))
        }
        SecretError::Store(error) => store_failed(error),
    }
}
