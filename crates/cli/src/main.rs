//! The `gapless` binary: arguments, rendering, and the assembly of the rooms.

mod api;
mod args;
mod command;
mod demo;
mod exit;
mod live;
mod output;
mod place;
mod render;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    match command::run(&cli) {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            output::Output::new(cli.common.json).trouble(&trouble);
            trouble.exit.into()
        }
    }
}
