//! The project that is measured: the demonstration's program under a configuration.

use std::net::SocketAddr;
use std::path::PathBuf;

use stage::{Stage, free_address};

/// A running server with the program deployed once.
pub(crate) struct Project {
    pub(crate) stage: Stage,
    pub(crate) address: SocketAddr,
    version: u32,
    replicas: u32,
    rollout: &'static str,
    server: String,
}

/// What a project is started with.
pub(crate) struct Setup<'a> {
    pub(crate) replicas: u32,
    /// Lines of `[service.web.rollout]`.
    pub(crate) rollout: &'static str,
    /// More lines of `[server]`.
    pub(crate) server: String,
    /// Arguments of the server.
    pub(crate) args: &'a [&'a str],
}

/// The release binary beside this one.
pub(crate) fn binary() -> Result<PathBuf, String> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let binary = this.with_file_name("gapless");
    if binary.is_file() {
        Ok(binary)
    } else {
        Err(format!("{} is not built", binary.display()))
    }
}

impl Project {
    /// Starts a server with `args` and deploys `replicas` of the program.
    pub(crate) fn start(
        replicas: u32,
        rollout: &'static str,
        args: &[&str],
    ) -> Result<Self, String> {
        let server = String::new();
        Self::start_with(Setup {
            replicas,
            rollout,
            server,
            args,
        })
    }

    /// Starts a server and deploys the program once.
    pub(crate) fn start_with(setup: Setup<'_>) -> Result<Self, String> {
        let address = free_address().map_err(|error| error.to_string())?;
        let mut stage = Stage::new(&binary()?).map_err(|error| error.to_string())?;
        stage.serve(setup.args).map_err(|error| error.to_string())?;
        let mut project = Self {
            stage,
            address,
            version: 0,
            replicas: setup.replicas,
            rollout: setup.rollout,
            server: setup.server,
        };
        project.deploy(&[])?;
        Ok(project)
    }

    /// Deploys the next version and returns what was said; a deploy that is not done is an error.
    pub(crate) fn deploy(&mut self, args: &[&str]) -> Result<stage::Said, String> {
        self.version += 1;
        let text = format!(
            r#"version = 1
project = "bench"

[server]
http = "{}"
{}

[service.web]
artifact = "app"
run = "./app demo-app"
replicas = {}
drain = "30s"
health = {{ http = "/healthz", every = "1s" }}
env = {{ VERSION = "{}" }}

[service.web.rollout]
{}
"#,
            self.address, self.server, self.replicas, self.version, self.rollout
        );
        self.stage.write(&text).map_err(|error| error.to_string())?;
        let all: Vec<&str> = ["deploy"].into_iter().chain(args.iter().copied()).collect();
        let said = self
            .stage
            .gapless(&all)
            .map_err(|error| error.to_string())?;
        if said.code == 0 {
            Ok(said)
        } else {
            Err(format!(
                "deploy {} ended with {}: {}",
                self.version, said.code, said.errors
            ))
        }
    }
}
