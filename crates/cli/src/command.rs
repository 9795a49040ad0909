//! One file per command; this list says which is which.

mod config;
mod demo_app;
mod deploy;
mod describe;
mod doctor;
mod follow;
mod init;
mod logs;
mod look;
mod maintenance;
mod migrate;
mod secret;
mod server;
mod steer;
mod upgrade;
mod worker;

use crate::args::{Cli, Command};
use crate::demo;
use crate::exit::{Exit, Trouble};
use crate::output::Output;

pub(crate) use demo_app::DemoApp;

/// Carries out what was asked.
pub(crate) fn run(cli: &Cli) -> Result<Exit, Trouble> {
    let (common, output) = (&cli.common, Output::new(cli.common.json));
    match &cli.command {
        Command::Demo(args) => demo::run(args.keep, output),
        Command::Init(args) => init::run(args, output),
        Command::Doctor => doctor::run(common, output),
        Command::Server(args) => server::run(common, args),
        Command::Plan(args) => deploy::plan(common, args, output),
        Command::Deploy(args) => deploy::run(common, args, output),
        Command::Status(args) => look::status(common, args, output),
        Command::Watch(args) => follow::watch(common, args, output),
        Command::Wait(args) => follow::wait(common, args, output),
        Command::Promote(args) => steer::promote(common, args, output),
        Command::Hold(args) => steer::rollout(common, args, "hold", output),
        Command::Resume(args) => steer::rollout(common, args, "resume", output),
        Command::Approve(args) => steer::rollout(common, args, "approve", output),
        Command::Abort(args) => steer::rollout(common, args, "abort", output),
        Command::Rollback(args) => steer::rollback(common, args, output),
        Command::History(args) => look::history(common, args, output),
        Command::Receipt(args) => look::receipt(common, args, output),
        Command::Why(args) => look::why(common, args, output),
        Command::Logs(args) => logs::run(common, args, output),
        Command::Migrate(args) => migrate::run(common, args, output),
        Command::Secret(args) => secret::run(common, args, output),
        Command::Drain(args) => steer::drain(common, args, output),
        Command::Scale(args) => steer::scale(common, args, output),
        Command::Restart(args) => steer::plain(common, args, "restart", output),
        Command::Stop(args) => steer::plain(common, args, "stop", output),
        Command::Maintenance(args) => maintenance::run(common, args, output),
        Command::Pause(args) => steer::pause(common, args, output),
        Command::Upgrade(args) => upgrade::run(common, args, output),
        Command::Config(args) => config::run(common, args, output),
        Command::Api => Ok(describe::api(output)),
        Command::Completion(args) => Ok(describe::completion(args, output)),
        Command::Man(args) => describe::man(args, output),
        Command::Worker(args) => worker::run(common, args),
        Command::DemoApp(args) => demo_app::run(args),
    }
}
