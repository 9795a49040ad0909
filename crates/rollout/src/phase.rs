//! What all strategies share: the jobs around them, the keep, the end, the way back.

pub(crate) mod after;
pub(crate) mod before;
pub(crate) mod keep;
pub(crate) mod retire;
pub(crate) mod returning;

use model::{Argv, JobKind, RolloutKind, WaitingOn};

use crate::state::State;
use crate::view::{Turn, View};
use crate::{JobState, Plan, SchemaNeed};

/// How far a job of this rollout is.
pub(crate) enum Job {
    /// There is none, or it has passed.
    Done,
    /// It failed, in a sentence.
    Failed(String),
    /// It was asked for or runs.
    Waits(Turn),
}

/// Asks for a command to be run and looks how far it is. A rollback has no jobs.
pub(crate) fn job(
    view: &View<'_>,
    state: &mut State,
    kind: JobKind,
    command: Option<&Argv>,
) -> Job {
    let wanted = match view.plan.kind {
        RolloutKind::Deploy => command.is_some(),
        RolloutKind::Rollback => false,
    };
    if !wanted {
        return Job::Done;
    }
    if state.target.jobs.insert(kind) {
        return Job::Waits(Turn::Changed(format!("job `{kind}` begins")));
    }
    match view.seen.jobs.get(&kind) {
        Some(JobState::Passed) => Job::Done,
        Some(JobState::Failed(how)) => Job::Failed(format!("job `{kind}` failed: {how}")),
        Some(JobState::Running) | None => {
            Job::Waits(Turn::Waits(vec![WaitingOn::Job { job: kind }]))
        }
    }
}

/// Asks for the database to be as the new release needs it, and looks how far it is.
pub(crate) fn expand(view: &View<'_>, state: &mut State) -> Job {
    let Some(SchemaNeed { database, version }) = &view.plan.schema else {
        return Job::Done;
    };
    if state.target.jobs.insert(JobKind::Expand) {
        let note = format!("database `{database}` is brought to `{version}`");
        return Job::Waits(Turn::Changed(note));
    }
    match view.seen.jobs.get(&JobKind::Expand) {
        Some(JobState::Passed) => Job::Done,
        Some(JobState::Failed(how)) => Job::Failed(format!(
            "database `{database}` was not brought to `{version}`: {how}"
        )),
        Some(JobState::Running) | None => Job::Waits(Turn::Waits(vec![WaitingOn::Schema {
            database: database.clone(),
            version: version.clone(),
        }])),
    }
}

/// Whether the strategy may have instances of both releases at a time.
pub(crate) fn overlaps(plan: &Plan) -> bool {
    match plan.policy.strategy {
        model::Strategy::Recreate => false,
        model::Strategy::Rolling { .. }
        | model::Strategy::BlueGreen(_)
        | model::Strategy::Canary { .. } => true,
    }
}
