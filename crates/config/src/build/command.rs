//! Command lines: the variables in their words must be known, and none of them secret.

use std::collections::{BTreeMap, BTreeSet};

use model::{Argv, Port, ServiceName, VariableError};

use super::service::port;
use crate::diagnostic::{Mistake, Mistakes, nearest};
use crate::value::{Item, Table};

/// Variables that every program has.
const AMBIENT: [&str; 5] = ["DATA", "HOME", "LANG", "PATH", "TMPDIR"];
/// The address of the new set, given to smoke commands.
const PREVIEW_URL: &str = "GAPLESS_PREVIEW_URL";
/// What the variables with the services' addresses begin with.
const URL: &str = "GAPLESS_URL_";

/// The environment of a service's programs.
pub(super) struct Env<'a> {
    /// Names of its secrets.
    pub(super) secrets: &'a BTreeSet<String>,
    /// Its plain variables.
    pub(super) variables: &'a BTreeMap<String, String>,
    /// The variables that hold the services' addresses.
    pub(super) urls: &'a BTreeSet<String>,
}

/// What a program is given beside the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    /// The port of its instance.
    Port,
    /// The address of the new set.
    PreviewUrl,
    /// Nothing.
    Nothing,
}

impl Given {
    /// What an instance is given, of a service with this port.
    pub(super) fn to_instance(port: Port) -> Self {
        match port {
            Port::Assigned | Port::Fixed(_) => Self::Port,
            Port::None => Self::Nothing,
        }
    }
}

/// The variables that hold the addresses of the services with a port.
pub(super) fn urls(services: &[(ServiceName, Table)]) -> BTreeSet<String> {
    let with_port = services
        .iter()
        .filter(|(_, table)| port(table) != Port::None);
    with_port
        .map(|(name, _)| {
            let name = name.as_str().to_ascii_uppercase().replace('-', "_");
            format!("{URL}{name}")
        })
        .collect()
}

/// The command of a key, checked; `None` where it is absent or wrong.
pub(super) fn argv(
    table: &Table,
    name: &str,
    (env, given): (&Env<'_>, Given),
    mistakes: &mut Mistakes<'_>,
) -> Option<Argv> {
    let words: &[Item<String>] = table.get(name)?;
    for word in words {
        check_word(name, word, (env, given), mistakes);
    }
    Some(Argv(words.iter().map(|word| word.value.clone()).collect()))
}

fn check_word(
    key: &str,
    word: &Item<String>,
    (env, given): (&Env<'_>, Given),
    mistakes: &mut Mistakes<'_>,
) {
    let add = |mistakes: &mut Mistakes<'_>, message: String, hint: String| {
        mistakes.add(Mistake::new(word.span.clone(), message).hint(hint));
    };
    let names = match model::variables(&word.value) {
        Ok(names) => names,
        Err(error @ (VariableError::Malformed(_) | VariableError::Unknown(_))) => {
            let hint = "write `$$` for a dollar sign that a shell named here shall see".to_owned();
            return add(mistakes, format!("in `{key}`, {error}"), hint);
        }
    };
    for name in names {
        if env.secrets.contains(name) {
            let message = format!(
                "`{key}` mentions the secret `{name}`, and everybody on the machine can read arguments"
            );
            let hint = format!("let the program read `{name}` from its environment");
            add(mistakes, message, hint);
        } else if !is_known(name, env, given) {
            let message = format!("`${name}` in `{key}` is not in the environment");
            add(mistakes, message, unknown_hint(name, env, given));
        }
    }
}

fn is_known(name: &str, env: &Env<'_>, given: Given) -> bool {
    if env.variables.contains_key(name) || AMBIENT.contains(&name) {
        return true;
    }
    match name {
        "PORT" => given == Given::Port,
        PREVIEW_URL => given == Given::PreviewUrl,
        _ if name.starts_with(URL) => env.urls.contains(name),
        _ => name.starts_with("GAPLESS_"),
    }
}

fn unknown_hint(name: &str, env: &Env<'_>, given: Given) -> String {
    if name == "PORT" {
        return match given {
            Given::PreviewUrl => format!("`${PREVIEW_URL}` leads to the new set"),
            Given::Port | Given::Nothing => "only an instance with a port has one".to_owned(),
        };
    }
    let variables = env.variables.keys().map(String::as_str);
    let urls = env.urls.iter().map(String::as_str);
    let port = (given == Given::Port).then_some("PORT");
    let preview = (given == Given::PreviewUrl).then_some(PREVIEW_URL);
    let known = variables
        .chain(urls)
        .chain(AMBIENT)
        .chain(port)
        .chain(preview);
    match nearest(name, known) {
        Some(near) => format!("did you mean `${near}`?"),
        None => format!("set `{name}` in `env`, or write `$${name}` for a dollar sign"),
    }
}
