//! `gapless init`: writes a commented configuration.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use config::Detected;

use crate::args::Init;
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::place;

/// Writes `gapless.toml` here; one that is there already is never touched.
pub(crate) fn run(args: &Init, output: Output) -> Result<Exit, Trouble> {
    let here = place::here()?;
    let name = args.name.clone().unwrap_or_else(|| name_of(&here));
    let text = config::init_file(&name, &detect(&here));
    let file = here.join(place::FILE);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)
        .and_then(|mut out| out.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            output.text(format!(
                "wrote {}; look it over, then run `gapless server` and `gapless deploy`",
                file.display()
            ));
            output.json_line(&serde_json::json!({ "v": 1, "wrote": file }));
            Ok(Exit::Done)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(Trouble::new(
            Exit::Usage,
            format!("{} is there already", file.display()),
        )
        .hint("check it with `gapless config check`")),
        Err(error) => Err(Trouble::new(
            Exit::Failed,
            format!("{} cannot be written", file.display()),
        )
        .cause(error)),
    }
}

/// The directory's name, as far as it can be one of a project.
fn name_of(here: &Path) -> String {
    let name = here
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let kept: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let begun = kept.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit());
    // Only ASCII is left, so that every byte is a character.
    let trimmed = begun[..begun.len().min(40)].trim_end_matches('-');
    if trimmed.is_empty() {
        "project".to_owned()
    } else {
        trimmed.to_owned()
    }
}

/// What lies in the directory that looks like a program.
fn detect(here: &Path) -> Detected {
    const PROGRAMS: [(&str, [&str; 2]); 4] = [
        ("package.json", ["node", "server.js"]),
        ("server.py", ["python3", "server.py"]),
        ("app.py", ["python3", "app.py"]),
        ("main.py", ["python3", "main.py"]),
    ];
    let program = PROGRAMS.iter().find(|(file, _)| here.join(file).exists());
    let folder = ["dist", "build", "bin"]
        .into_iter()
        .find(|folder| here.join(folder).is_dir());
    let (artifact, run): (&str, &[&str]) = match (program, folder) {
        (Some((_, run)), _) => (".", run),
        (None, Some(folder)) => (folder, &["./server"]),
        (None, None) => ("app", &["./server"]),
    };
    Detected {
        artifact: artifact.to_owned(),
        run: run.iter().map(|word| (*word).to_owned()).collect(),
        health: "/healthz".to_owned(),
    }
}
