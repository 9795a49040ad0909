//! What tests of control do with a worker and see of its world.

use std::io;
use std::path::Path;
use std::time::Duration;

use control::End;
use control::api::{DeployRequest, Failure};
use model::{Digest, JobKind, Project, Receipt, RolloutId};
use runtime::artifact::{self, ArtifactBounds};
use runtime::{InstanceState, Key};

use crate::support::{FakeDriver, Worker};

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

impl Worker {
    pub(crate) async fn ended(self) -> End {
        tokio::time::timeout(PATIENCE, self.running)
            .await
            .unwrap()
            .unwrap()
    }

    /// Stores an artefact made of `directory` and asks for a deploy of it.
    pub(crate) async fn deploy(
        &self,
        project: &Project,
        directory: &Path,
    ) -> Result<control::api::Deployed, Failure> {
        let request = self.request(project, directory).await;
        self.handle.deploy(request, None, "test".to_owned()).await
    }

    pub(crate) async fn request(&self, project: &Project, directory: &Path) -> DeployRequest {
        let mut packed = Vec::new();
        artifact::pack(directory, &mut packed, ArtifactBounds::default()).unwrap();
        let digest: Digest = self
            .handle
            .store_artifact(io::Cursor::new(packed))
            .await
            .unwrap();
        let artifacts = project
            .services
            .keys()
            .map(|name| (name.clone(), digest.clone()));
        DeployRequest {
            project: project.clone(),
            artifacts: artifacts.collect(),
            migrations: std::collections::BTreeMap::new(),
            label: None,
            force: false,
            supersede: false,
            prune: false,
        }
    }

    /// Waits for the receipt of a rollout.
    pub(crate) async fn receipt(&self, rollout: RolloutId) -> Receipt {
        let wait = async {
            let mut changed = self.handle.changed();
            loop {
                if let Ok(receipt) = self.handle.receipt(rollout).await {
                    return receipt;
                }
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// Waits until the state is as `wanted` says.
    pub(crate) async fn until(&self, wanted: impl Fn(&control::api::StatusAnswer) -> bool) {
        let wait = async {
            let mut changed = self.handle.changed();
            while !wanted(&self.handle.status().await.unwrap()) {
                changed.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

impl FakeDriver {
    /// The keys of the children that run.
    pub(crate) fn running(&self) -> Vec<String> {
        let children = self.children.lock().unwrap();
        let running = children
            .iter()
            .filter(|(_, child)| child.state == InstanceState::Running);
        running.map(|(key, _)| key.to_string()).collect()
    }
}

/// The key of a job.
pub(crate) fn job(rollout: RolloutId, kind: JobKind) -> Key {
    Key::try_new(format!("job-{rollout}-{kind}")).unwrap()
}
