//! What the acts are played on: the program in its versions, and a client.

use std::net::SocketAddr;

use stage::{Said, StageError, free_address};

use super::client::Client;
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// A temporary project, its server, and once it serves a client.
pub(super) struct Stage {
    inner: stage::Stage,
    address: SocketAddr,
    pub(super) client: Option<Client>,
    version: u32,
}

impl Stage {
    /// Sets it: a folder, a copy of this binary as the artefact, a server that answers.
    pub(super) fn set() -> Result<Self, Trouble> {
        let binary = std::env::current_exe().map_err(|error| {
            Trouble::new(Exit::Failed, "this program cannot find itself").cause(error)
        })?;
        let address = free_address()
            .map_err(|error| Trouble::new(Exit::Failed, "no port is free").cause(error))?;
        let mut inner = stage::Stage::new(&binary).map_err(failed)?;
        inner.serve(&[]).map_err(failed)?;
        Ok(Self {
            inner,
            address,
            client: None,
            version: 0,
        })
    }

    /// Where the demonstration listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins to send requests.
    pub(super) fn open_doors(&mut self) -> Result<(), Trouble> {
        let client = Client::start(self.address).map_err(|error| {
            Trouble::new(Exit::Failed, "the client cannot be started").cause(error)
        })?;
        self.client = Some(client);
        Ok(())
    }

    /// Writes the configuration of the next version of the program.
    pub(super) fn write(&mut self, fault: &str, rollout: &str) -> Result<(), Trouble> {
        self.version += 1;
        let text = format!(
            r#"version = 1
project = "demo"

[server]
http = "{}"

[service.shop]
artifact = "app"
run = "./app demo-app"
replicas = 2
drain = "5s"
stop = {{ signal = "SIGTERM", grace = "2s" }}
health = {{ http = "/healthz", every = "200ms", timeout = "1s" }}
env = {{ VERSION = "{}", FAULT = "{fault}" }}
proxy = {{ response_timeout = "1s" }}

[service.shop.rollout]
{rollout}
"#,
            self.address, self.version
        );
        self.inner.write(&text).map_err(failed)
    }

    /// Runs a command of this program to its end, passing on its progress.
    pub(super) fn gapless(&self, args: &[&str], output: Output) -> Result<Said, Trouble> {
        let see = |line: &serde_json::Value| {
            if let Some(text) = line["text"].as_str() {
                output.note(format!("  {text}"));
            }
        };
        self.inner.watched(args, see).map_err(failed)
    }

    /// Kills the worker with SIGKILL.
    pub(super) fn kill_worker(&self, output: Output) -> Result<(), Trouble> {
        let pid = self.inner.kill_worker().map_err(failed)?;
        output.note(format!("  kill -9 {pid}"));
        Ok(())
    }

    /// Says how to go on with the running server, and leaves it.
    pub(super) fn keep(mut self, output: Output) {
        self.client = None;
        let (folder, pid) = self.inner.keep();
        output.note(format!(
            "kept: http://{}\n  cd {} && gapless status --state state\nend it with: kill {pid}",
            self.address,
            folder.display(),
        ));
    }

    /// Ends the client and the server, and removes the folder.
    pub(super) fn strike(mut self) -> Result<(), Trouble> {
        self.client = None;
        match self.inner.end().map_err(failed)? {
            0 => Ok(()),
            code => Err(Trouble::new(
                Exit::Failed,
                format!("the server ended with code {code}"),
            )),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn failed(error: StageError) -> Trouble {
    Trouble::new(Exit::Failed, error.to_string())
}
