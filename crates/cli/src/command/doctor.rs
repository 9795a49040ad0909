//! `gapless doctor`: finds what is wrong and says the fix.

use control::api::{DoctorFact, DoctorFacts, FactLevel};

use crate::api::Api;
use crate::args::Common;
use crate::command::config;
use crate::exit::{Exit, Trouble};
use crate::output::Output;
use crate::place;

/// Looks at the configuration, the server, and what the server sees.
pub(crate) fn run(common: &Common, output: Output) -> Result<Exit, Trouble> {
    let mut facts = vec![configuration(common)];
    facts.extend(server(common));
    for fact in &facts {
        let level = match fact.level {
            FactLevel::Good => "good   ",
            FactLevel::Warning => "warning",
            FactLevel::Bad => "BAD    ",
        };
        output.text(format!("{level} {}: {}", fact.name, fact.seen));
        if let Some(fix) = &fact.fix {
            output.text(format!("        fix: {fix}"));
        }
    }
    let bad = facts.iter().any(|fact| fact.level == FactLevel::Bad);
    output.json_line(&DoctorFacts { v: 1, facts });
    Ok(if bad { Exit::Failed } else { Exit::Done })
}

fn configuration(common: &Common) -> DoctorFact {
    let checked = place::config(common)
        .and_then(|file| config::project(&file, Output::silent()).map(|project| (file, project)));
    match checked {
        Ok((file, project)) => DoctorFact {
            name: "configuration".to_owned(),
            level: FactLevel::Good,
            seen: format!("{}: services: {}", file.display(), project.services.len()),
            fix: None,
        },
        Err(trouble) => bad("configuration", trouble, "run `gapless config check`"),
    }
}

fn server(common: &Common) -> Vec<DoctorFact> {
    match Api::of(common).and_then(|api| api.get::<DoctorFacts>("/v1/doctor")) {
        Ok(answer) => answer.facts,
        Err(trouble) => vec![bad("server", trouble, "start it with `gapless server`")],
    }
}

fn bad(name: &str, trouble: Trouble, fix: &str) -> DoctorFact {
    let cause = trouble
        .cause
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    DoctorFact {
        name: name.to_owned(),
        level: FactLevel::Bad,
        seen: format!("{}{cause}", trouble.what),
        fix: Some(trouble.hint.unwrap_or_else(|| fix.to_owned())),
    }
}
