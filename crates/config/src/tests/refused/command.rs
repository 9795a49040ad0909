//! Commands and the environment.

use super::super::refused_with;
use super::{rollout, run, with};

#[test]
fn commands_are_split_without_a_shell() {
    for (command, message) in [
        ("\"\"", "`run` names no program"),
        ("[]", "`run` cannot be a list"),
        ("[\"\"]", "`run` cannot be a list"),
        ("[\"a\", 1]", "`run` cannot be a list"),
        ("1", "`run` cannot be 1"),
        ("\"./web 'a\"", "`run` has a `'` that is never closed"),
        (
            "\"./a && ./b\"",
            "`&&` means nothing here, since no shell is involved",
        ),
        (
            "\"./a | ./b\"",
            "`|` means nothing here, since no shell is involved",
        ),
        (
            "\"./a >log\"",
            "`>` means nothing here, since no shell is involved",
        ),
        (
            "\"A=1 ./a\"",
            "`A=1` sets nothing here, since no shell is involved",
        ),
    ] {
        refused_with(&run(command), message);
    }
    assert!(crate::parse(&run("[\"sh\", \"-c\", \"./a && ./b\"]")).is_ok());
}

#[test]
fn variables_in_commands_are_known_and_public() {
    for (command, message) in [
        (
            "\"./a $PROT\"",
            "`$PROT` in `run` is not in the environment",
        ),
        (
            "\"./a ${NOPE}\"",
            "`$NOPE` in `run` is not in the environment",
        ),
        (
            "\"./a $GAPLESS_URL_API\"",
            "`$GAPLESS_URL_API` in `run` is not in the environment",
        ),
        (
            "\"./a $GAPLESS_PREVIEW_URL\"",
            "`$GAPLESS_PREVIEW_URL` in `run` is not in the environment",
        ),
        (
            "\"./a $1\"",
            "in `run`, `$1` is no variable: write `$NAME`, `${NAME}`, or `$$` for a dollar sign",
        ),
    ] {
        refused_with(&run(command), message);
    }
    for command in [
        "$DATA",
        "$HOME",
        "$PATH",
        "$TMPDIR",
        "$LANG",
        "$GAPLESS_RELEASE",
        "$PORT",
        "$A",
    ] {
        let text = run(&format!("\"./a {command}\"")) + "env = { A = \"1\" }";
        assert!(crate::parse(&text).is_ok(), "{command}");
    }
    let secret = "mentions the secret `TOKEN`, and everybody on the machine can read arguments";
    let text = run("\"./a --token=${TOKEN}\"") + "secrets = [\"TOKEN\"]";
    refused_with(&text, &format!("`run` {secret}"));
    for key in ["before", "after"] {
        let text = with("secrets = [\"TOKEN\"]");
        let text = format!("{text}[service.web.rollout]\n{key} = [\"sh\", \"-c\", \"$TOKEN\"]");
        refused_with(&text, &format!("`{key}` {secret}"));
        let text = rollout(&format!("{key} = \"./a $PORT\""));
        refused_with(
            &text,
            &format!("`$PORT` in `{key}` is not in the environment"),
        );
    }
}

#[test]
fn the_environment_is_strings_under_valid_names() {
    for (line, message) in [
        ("env = { A = 1 }", "`service.web.env.A` cannot be 1"),
        ("env = { A = [] }", "`service.web.env.A` cannot be a list"),
        (
            "env = { A = \"\\u0000\" }",
            "`service.web.env.A` cannot be \"\\u0000\"",
        ),
        (
            "env = { \"A-B\" = \"1\" }",
            "`env` cannot have the key `A-B`",
        ),
        ("env = { PORT = \"1\" }", "`PORT` is set by the server"),
        (
            "env = { GAPLESS_X = \"1\" }",
            "`GAPLESS_X` is set by the server",
        ),
        ("secrets = [\"DATA\"]", "`DATA` is set by the server"),
        (
            "secrets = [\"A-B\"]",
            "`secrets` cannot be what is written here",
        ),
        ("secrets = [\"A\", \"A\"]", "`secrets` names \"A\" twice"),
        (
            "env = { A = \"1\" }\nsecrets = [\"A\"]",
            "`A` is both in `env` and in `secrets`",
        ),
        ("env = \"A=1\"", "`env` cannot be \"A=1\""),
    ] {
        refused_with(&with(line), message);
    }
}
