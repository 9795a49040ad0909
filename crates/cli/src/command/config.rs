//! `gapless config`: check, explain, schema.

use std::path::Path;

use config::{ExplainError, Report, Source};
use model::Project;

use crate::args::{Common, Config};
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::place;

/// Carries out one of them.
pub(crate) fn run(common: &Common, args: &Config, output: Output) -> Result<Exit, Trouble> {
    match args {
        Config::Check => {
            let file = place::config(common)?;
            let project = project(&file, output)?;
            output.text(format!(
                "{}: fine, services: {}",
                file.display(),
                project.services.len()
            ));
            output.json_line(&serde_json::json!({ "v": 1, "ok": true, "project": project.name }));
            Ok(Exit::Done)
        }
        Config::Explain(args) => explain(&place::config(common)?, args.path.as_deref(), output),
        Config::Schema => {
            output.raw(config::schema().trim_end());
            Ok(Exit::Done)
        }
    }
}

/// Reads and checks a configuration; every mistake is shown at once.
pub(crate) fn project(file: &Path, output: Output) -> Result<Project, Trouble> {
    let text = read(file)?;
    config::parse(&text).map_err(|report| refused(file, &text, &report, output))
}

fn explain(file: &Path, path: Option<&str>, output: Output) -> Result<Exit, Trouble> {
    let text = read(file)?;
    let values = config::explain(&text, path).map_err(|error| match error {
        ExplainError::Invalid(report) => refused(file, &text, &report, output),
        ExplainError::UnknownPath { path, hint } => {
            let trouble = Trouble::new(Exit::Usage, format!("{} has no `{path}`", file.display()));
            match hint {
                Some(hint) => trouble.hint(format!("did you mean `{hint}`?")),
                None => trouble,
            }
        }
    })?;
    for value in &values {
        let source = match value.source {
            Source::File { line } => format!("line {line}"),
            Source::Default => "default".to_owned(),
        };
        output.text(format!(
            "{} = {}  ({source})\n    {}",
            value.path, value.value, value.description
        ));
        output.json_line(value);
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<String, Trouble> {
    std::fs::read_to_string(file).map_err(|error| {
        Trouble::new(Exit::Usage, format!("{} cannot be read", file.display())).cause(error)
    })
}

fn refused(file: &Path, text: &str, report: &Report, output: Output) -> Trouble {
    output.note(report.render(&file.display().to_string(), text).trim_end());
    for diagnostic in &report.diagnostics {
        output.json_line(diagnostic);
    }
    let count = report.diagnostics.len();
    let mistakes = if count == 1 {
        "one mistake".to_owned()
    } else {
        format!("{count} mistakes")
    };
    Trouble::new(Exit::Usage, format!("{} has {mistakes}", file.display()))
        .hint("nothing was changed; mend the file and try again")
}
