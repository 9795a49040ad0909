//! `completion`, `man` and `api`: what is made from the code itself.

use std::fmt::Write;

use clap::CommandFactory;

use crate::args::{Cli, Completion, Man};
use crate::exit::{Exit, Trouble};
use crate::output::Output;

/// Prints completions.
pub(crate) fn completion(args: &Completion, output: Output) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gapless", &mut script);
    output.raw(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

/// Prints or writes man pages.
pub(crate) fn man(args: &Man, output: Output) -> Result<Exit, Trouble> {
    if args.markdown {
        output.raw(markdown(&Cli::command()).trim_end());
        return Ok(Exit::Done);
    }
    let failed = |error| Trouble::new(Exit::Failed, "the man pages cannot be written").cause(error);
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).map_err(failed)?;
        clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder)
            .map_err(failed)?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(failed)?;
    output.raw(String::from_utf8_lossy(&page).trim_end());
    Ok(Exit::Done)
}

/// One document of all commands, in the order of the help text.
fn markdown(root: &clap::Command) -> String {
    let mut out =
        "# Commands\n\nMade by `cargo xtask generate`; the same as `gapless help COMMAND`.\n"
            .to_owned();
    section(root, "gapless", &mut out);
    out
}

fn section(command: &clap::Command, path: &str, out: &mut String) {
    let mut command = command
        .clone()
        .bin_name(path)
        .term_width(90)
        .disable_help_subcommand(true);
    let _ = write!(
        out,
        "\n## `{path}`\n\n```text\n{}\n```\n",
        command.render_long_help().to_string().trim_end()
    );
    let below: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .cloned()
        .collect();
    for sub in below {
        section(&sub, &format!("{path} {}", sub.get_name()), out);
    }
}

/// Prints the OpenAPI description.
pub(crate) fn api(output: Output) -> Exit {
    output.raw(server::openapi().trim_end());
    Exit::Done
}
