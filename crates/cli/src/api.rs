//! The admin API with errors as people see them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use control::api::{
    ApiError, ArtifactStored, Code, DeployRequest, Deployed, Explained, StatusAnswer,
};
use model::{Digest, RolloutId};
use runtime::artifact::{self, ArtifactBounds, ArtifactError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use server::client::{Client, ClientError};

use crate::args::Common;
use crate::exit::{Exit, Trouble};
use crate::place;

/// How long a server that runs but does not answer is asked again: a worker that died is replaced
/// within a second.
const CONTACT: Duration = Duration::from_secs(3);

/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// The server of this project.
pub(crate) struct Api {
    client: Client,
    state: PathBuf,
}

impl Api {
    /// The server whose state directory the options name.
    pub(crate) fn of(common: &Common) -> Result<Self, Trouble> {
        let state = place::state(common)?;
        let client = Client::new(&state)
            .map_err(|error| Trouble::new(Exit::Failed, "no runtime can be made").cause(error))?;
        Ok(Self { client, state })
    }

    /// Asks, and asks again while a dead worker is being replaced: a question changes nothing.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Trouble> {
        self.patiently(|| self.client.get(path))
    }

    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Trouble> {
        let begin = Instant::now();
        loop {
            match self.client.post(path, body, None) {
                Ok(answer) => return Ok(answer),
                // Nothing was done: a worker is being replaced.
                Err(error) if is_undone(&error) && begin.elapsed() < CONTACT => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(self.trouble(error)),
            }
        }
    }

    pub(crate) fn put_bytes<T: DeserializeOwned>(
        &self,
        path: &str,
        bytes: Vec<u8>,
    ) -> Result<T, Trouble> {
        self.client
            .put(path, bytes)
            .map_err(|error| self.trouble(error))
    }

    pub(crate) fn delete(&self, path: &str) -> Result<(), Trouble> {
        self.client
            .delete(path)
            .map_err(|error| self.trouble(error))
    }

    pub(crate) fn lines(
        &self,
        path: &str,
        see: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Trouble> {
        self.client
            .lines(path, see)
            .map_err(|error| self.trouble(error))
    }

    pub(crate) fn status(&self) -> Result<StatusAnswer, Trouble> {
        self.get("/v1/status")
    }

    pub(crate) fn rollout(&self, id: RolloutId) -> Result<Explained, Trouble> {
        self.get(&format!("/v1/rollouts/{id}"))
    }

    /// Sends a deploy under one key until it is answered: a worker that dies in between has
    /// either taken it or not, and the next one knows.
    pub(crate) fn deploy(&self, request: &DeployRequest) -> Result<Deployed, Trouble> {
        let key = key()?;
        self.patiently(|| self.client.post("/v1/deploy", request, Some(&key)))
    }

    /// Repeats what may be repeated while contact is lost.
    fn patiently<T>(&self, call: impl Fn() -> Result<T, ClientError>) -> Result<T, Trouble> {
        let begin = Instant::now();
        loop {
            let trouble = match call() {
                Ok(answer) => return Ok(answer),
                Err(error) => self.trouble(error),
            };
            if trouble.exit != Exit::LostContact || begin.elapsed() > CONTACT {
                return Err(trouble);
            }
            std::thread::sleep(PAUSE);
        }
    }

    pub(crate) fn has_artifact(&self, digest: &Digest) -> Result<bool, Trouble> {
        self.patiently(|| self.client.has(&format!("/v1/artifacts/{digest}")))
    }

    /// Sends an artefact and makes sure that what arrived is what was read before.
    pub(crate) fn send_artifact(&self, path: &Path, digest: &Digest) -> Result<(), Trouble> {
        let owned = path.to_owned();
        let stored: ArtifactStored = self
            .client
            .upload("/v1/artifacts", move |out| {
                let packed = artifact::pack(&owned, out, ArtifactBounds::default());
                packed.map(drop).map_err(|error| match error {
                    ArtifactError::Stream(error) => error,
                    other => std::io::Error::other(other),
                })
            })
            .map_err(|error| self.trouble(error))?;
        if stored.digest == digest.as_str() {
            return Ok(());
        }
        Err(Trouble::new(
            Exit::Failed,
            format!("{} changed while it was read", path.display()),
        )
        .hint("deploy again when nothing writes to it"))
    }

    fn trouble(&self, error: ClientError) -> Trouble {
        match error {
            ClientError::Refused(error) => refused(*error),
            ClientError::Unreachable { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                Trouble::new(
                    Exit::Failed,
                    format!(
                        "the server's socket in {} may not be used",
                        self.state.display()
                    ),
                )
                .cause(source)
                .hint("run it as the user that runs the server, or as root")
            }
            ClientError::Unreachable { source, .. } => unreachable(&self.state).cause(source),
            ClientError::Lost(cause) => {
                Trouble::new(Exit::LostContact, "the server's answer was lost")
                    .cause(cause)
                    .hint("what was begun goes on; see `gapless status` and `gapless wait`")
            }
            ClientError::Malformed(cause) => {
                Trouble::new(Exit::Failed, "the server's answer is not understood")
                    .cause(cause)
                    .hint("is the server of the same version? see `gapless doctor`")
            }
            ClientError::Source(cause) => {
                Trouble::new(Exit::Failed, "what was to be sent cannot be read").cause(cause)
            }
        }
    }
}

/// Nobody listens. A server may be there all the same: without its database it only serves.
fn unreachable(state: &Path) -> Trouble {
    if let Some(pid) = supervisor::server_of(state) {
        let what = format!(
            "the server in {} (pid {pid}) takes no commands",
            state.display()
        );
        return Trouble::new(Exit::LostContact, what)
            .hint("traffic goes on as it was; if this stays so, what the server printed says why");
    }
    let left = state.join(server::SOCKET).exists();
    let exit = if left {
        Exit::LostContact
    } else {
        Exit::Failed
    };
    Trouble::new(exit, format!("no server answers in {}", state.display()))
        .hint("start it with `gapless server`, or name another state directory with --state")
}

/// Whether the request was surely not carried out although a server is there.
fn is_undone(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(error) => error.code == Code::Moved,
        ClientError::Unreachable { .. }
        | ClientError::Lost(_)
        | ClientError::Malformed(_)
        | ClientError::Source(_) => false,
    }
}

fn refused(error: ApiError) -> Trouble {
    let exit = match error.code {
        Code::Invalid | Code::TooLarge | Code::NotFound => Exit::Usage,
        Code::Locked => Exit::Locked,
        Code::Moved => Exit::LostContact,
        Code::Forbidden | Code::Refused | Code::Unavailable | Code::Internal => Exit::Failed,
    };
    Trouble {
        exit,
        what: error.error,
        cause: error.cause,
        evidence: error.evidence,
        traffic: error.traffic,
        hint: error.hint,
    }
}

/// 128 random bits from the kernel.
fn key() -> Result<String, Trouble> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        Trouble::new(Exit::Failed, "the kernel gives no random bytes").cause(error)
    })?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
