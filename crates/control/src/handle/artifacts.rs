//! Artefacts, stored and spared.

use std::io::Read;
use std::sync::Arc;

use model::Digest;
use runtime::artifact::ArtifactError;

use super::{Handle, gone};
use crate::api::{Code, Failure};

impl Handle {
    /// Whether an artefact is stored. If it is, it stays for a while: a deploy may follow.
    ///
    /// # Errors
    ///
    /// When control has ended.
    pub async fn has_artifact(&self, digest: Digest) -> Result<bool, Failure> {
        let _meanwhile = self.uploads.read().await;
        if !self.artifacts.has(&digest) {
            return Ok(false);
        }
        self.ask(move |shell| shell.spare_artifact(digest)).await?;
        Ok(true)
    }

    /// Stores the artefact that a stream holds; it stays for a while: a deploy may follow.
    ///
    /// # Errors
    ///
    /// [`Code::Invalid`] when the stream is no artefact, [`Code::TooLarge`] when it is too large.
    pub async fn store_artifact(
        &self,
        stream: impl Read + Send + 'static,
    ) -> Result<Digest, Failure> {
        let _meanwhile = self.uploads.read().await;
        let artifacts = Arc::clone(&self.artifacts);
        let unpacked = tokio::task::spawn_blocking(move || artifacts.unpack(stream)).await;
        let digest = unpacked
            .map_err(|_| gone())?
            .map_err(|error| not_stored(&error))?;
        let spared = digest.clone();
        self.ask(move |shell| shell.spare_artifact(spared)).await?;
        Ok(digest)
    }
}

fn not_stored(error: &ArtifactError) -> Failure {
    let code = match error {
        ArtifactError::Io { .. } => Code::Unavailable,
        ArtifactError::TooManyEntries { .. } | ArtifactError::TooLarge { .. } => Code::TooLarge,
        ArtifactError::Stream(_)
        | ArtifactError::Damaged
        | ArtifactError::Special { .. }
        | ArtifactError::LinkOutside { .. }
        | ArtifactError::Path { .. }
        | ArtifactError::Changed { .. } => Code::Invalid,
    };
    Failure::new(code, "the artefact was not stored").with_cause(crate::chain(error))
}
