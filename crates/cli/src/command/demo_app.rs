//! The hidden program of the demonstration.

use load::app::{self, App};

use crate::args::DemoApp;
use crate::exit::{Exit, Trouble};

/// Serves until SIGTERM.
pub(crate) fn run(args: &DemoApp) -> Result<Exit, Trouble> {
    let app = App {
        port: args.port,
        release: args.release.clone(),
        fault: args.fault,
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
