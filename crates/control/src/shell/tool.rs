//! Jobs that change a database's schema with another tool.

use std::sync::Arc;
use std::time::Duration;

use model::{Argv, DatabaseName, JobKind, ReleaseDatabase, ReleaseId, RolloutId, ServiceName};

use super::{Message, Shell};
use crate::database::{DatabaseFailed, Standing};

/// Programs that change schemas, each with the words of which one must follow; none: any use.
const TOOLS: &[(&str, &[&str])] = &[
    ("alembic", &["upgrade", "downgrade"]),
    ("artisan", &["migrate"]),
    ("atlas", &["apply"]),
    ("console", &["doctrine:migrations", "doctrine:schema"]),
    ("dbmate", &["up", "migrate", "down", "rollback"]),
    ("diesel", &["migration", "setup"]),
    ("django-admin", &["migrate"]),
    ("dotnet-ef", &["database"]),
    ("drizzle-kit", &["migrate", "push"]),
    ("ef", &["database"]),
    ("flyway", &["migrate", "clean", "undo"]),
    ("goose", &["up", "down", "redo", "reset"]),
    ("knex", &["migrate"]),
    ("liquibase", &["update", "rollback", "drop-all"]),
    ("manage", &["migrate"]),
    ("migrate", &["up", "down", "goto", "drop"]),
    ("mix", &["ecto.migrate", "ecto.rollback"]),
    ("pgroll", &["start", "complete", "rollback", "migrate"]),
    ("prisma", &["migrate", "push"]),
    ("rails", &["db:"]),
    ("rake", &["db:"]),
    ("refinery", &["migrate"]),
    ("reshape", &["migration", "migrate"]),
    ("sequelize", &["db:"]),
    ("sequelize-cli", &["db:"]),
    ("sqitch", &["deploy", "revert"]),
    ("sqlx", &["migrate", "database"]),
    ("typeorm", &["migration:", "schema:"]),
    ("yoyo", &["apply", "rollback", "reapply"]),
];

/// The tool that a command changes schemas with, if it is one that is known, by itself or as a
/// word of another command's.
fn tool(argv: &Argv) -> Option<&'static str> {
    let words: Vec<&str> = argv
        .0
        .iter()
        .flat_map(|word| word.split_whitespace())
        .collect();
    let mut tools = words.iter().enumerate().filter_map(|(at, word)| {
        let file = word.rsplit('/').next().unwrap_or_default();
        let name = file.split('.').next().unwrap_or_default();
        let (tool, verbs) = TOOLS.iter().find(|(tool, _)| *tool == name)?;
        let mut after = words[at + 1..].iter();
        after
            .any(|word| verbs.iter().any(|verb| word.starts_with(verb)))
            .then_some(*tool)
    });
    tools.next()
}

/// A job that is to be run.
pub(crate) struct Job {
    pub(crate) rollout: RolloutId,
    pub(crate) job: JobKind,
    pub(crate) service: ServiceName,
    pub(crate) release: ReleaseId,
    pub(crate) timeout: Duration,
}

impl Shell {
    /// The database that a job changes with another tool, as far as its command tells.
    pub(super) fn changed_otherwise(&self, job: &Job) -> Option<(&'static str, ReleaseDatabase)> {
        let tool = tool(&self.job_argv(job.rollout, job.job)?)?;
        let release = self.engine.release(&job.service, job.release)?;
        Some((tool, release.spec.database.clone()?))
    }

    /// Runs a job unless a change of ours is open in the database that it would change, too.
    pub(super) fn run_unless_open(
        &mut self,
        job: Job,
        (tool, database): (&'static str, ReleaseDatabase),
    ) {
        let site = match self.site(&database, None) {
            Ok(site) => Arc::new(site),
            Err(reason) => return self.refuse_job(&job, reason),
        };
        let looked = self.working.databases.look(site);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let message = match refusal(tool, &database.name, looked.await) {
                None => Message::RunJob(job),
                Some(reason) => Message::Task(Box::new(move |shell: &mut Self| {
                    shell.refuse_job(&job, reason);
                })),
            };
            // Nobody listens once control has ended; the next worker asks again.
            let _ = inbox.send(message);
        });
    }

    fn refuse_job(&mut self, job: &Job, reason: String) {
        self.tell_job(job.rollout, job.job, Err(reason));
    }
}

fn refusal(
    tool: &str,
    database: &DatabaseName,
    seen: Result<Standing, DatabaseFailed>,
) -> Option<String> {
    match seen {
        Ok(Standing { open, .. }) => {
            let open = open.first()?;
            Some(format!(
                "`{tool}` was not run: `{open}` is open in database `{database}`, whose versions would not follow what \
                 another tool changes; contract it with `gapless migrate contract --database {database}` or take it \
                 back with `gapless migrate abort`, or make it a migration of the database"
            ))
        }
        Err(failed) => Some(format!(
            "`{tool}` was not run: whether a change is open in database `{database}` is not known: {}",
            failed.reason
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_their_command() {
        for (command, wanted) in [
            ("alembic upgrade head", Some("alembic")),
            ("./venv/bin/alembic -c a.ini upgrade head", Some("alembic")),
            ("alembic history", None),
            ("python manage.py migrate --noinput", Some("manage")),
            ("python manage.py collectstatic", None),
            ("bundle exec rails db:migrate", Some("rails")),
            ("npx prisma migrate deploy", Some("prisma")),
            ("dotnet ef database update", Some("ef")),
            ("flyway -url=jdbc:x migrate", Some("flyway")),
            ("./seed --all", None),
        ] {
            let argv = Argv(command.split(' ').map(str::to_owned).collect());
            assert_eq!(tool(&argv), wanted, "{command}");
        }
        let shell = ["sh", "-c", "cd app && sqlx migrate run"].map(str::to_owned);
        assert_eq!(tool(&Argv(shell.to_vec())), Some("sqlx"));
    }
}
