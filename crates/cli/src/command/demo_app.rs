//! The hidden program of the demonstration.

use std::path::PathBuf;

use clap::Args;
use load::app::{self, App, Identity, Speech};

use crate::exit::{Exit, Trouble};

/// Options of the hidden `demo-app`.
#[derive(Debug, Args)]
pub(crate) struct DemoApp {
    /// The loopback port to listen on
    #[arg(long, env = "PORT")]
    pub(crate) port: u16,
    /// What it says it is
    #[arg(long, env = "GAPLESS_RELEASE", default_value = "v0")]
    pub(crate) release: String,
    /// How it is broken
    #[arg(long, env = "FAULT", default_value = "none")]
    pub(crate) fault: load::app::Fault,
    /// Say back what is said, without HTTP
    #[arg(long)]
    pub(crate) tcp: bool,
    /// Speak HTTP/2 in the clear
    #[arg(long)]
    pub(crate) h2c: bool,
    /// Speak over TLS, identified by this certificate
    #[arg(long, requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
    /// What instances say that they take beside each other, in turn
    #[arg(long, value_delimiter = ',')]
    pub(crate) weights: Vec<u8>,
    /// Which instance it is
    #[arg(long, env = "GAPLESS_INSTANCE", default_value = "")]
    pub(crate) instance: String,
}

/// Serves until SIGTERM.
pub(crate) fn run(args: &DemoApp) -> Result<Exit, Trouble> {
    let app = App {
        port: args.port,
        release: args.release.clone(),
        fault: args.fault,
        speech: match (args.tcp, args.h2c) {
            (true, _) => Speech::Tcp,
            (false, true) => Speech::H2c,
            (false, false) => Speech::Http,
        },
        identity: (args.tls_cert.clone().zip(args.tls_key.clone()))
            .map(|(cert, key)| Identity { cert, key }),
        weight: weight(args),
    };
    let failed = |error| {
        Trouble::new(
            Exit::Failed,
            format!("the program cannot serve on port {}", args.port),
        )
        .cause(error)
    };
    app::run(app).map_err(failed)?;
    Ok(Exit::Done)
}

/// The weight of the instance, by the number that its name ends with.
fn weight(args: &DemoApp) -> Option<u8> {
    let serial = args.instance.rsplit('-').next();
    let serial: usize = serial.and_then(|serial| serial.parse().ok()).unwrap_or(0);
    let turns = args.weights.len().max(1);
    args.weights.get(serial % turns).copied()
}
