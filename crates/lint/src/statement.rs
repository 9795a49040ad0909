//! Rules about SQL statements: squawk's, and ours about phases and sizes.

use migration::Text;
use squawk_linter::{Linter, Rule};
use squawk_syntax::SourceFile;

use crate::place::Part;
use crate::{File, Finding, Known, Severity, rule};

/// SQL with what is known about when it runs.
#[derive(Debug)]
pub(crate) struct Script<'a> {
    part: Part<'a>,
    text: String,
    phase: Phase,
}

/// When a script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Whenever another tool runs it: the old version may still be there.
    Unknown,
    /// Before the first new instance, under our lock timeout.
    Expand,
    /// When the old version is gone, under our lock timeout.
    Contract,
}

/// Rules of taste, or that say again what we see to.
const NOT_TAKEN: [Rule; 11] = [
    Rule::PreferRobustStmts,
    Rule::PreferTextField,
    Rule::PreferIdentity,
    Rule::PreferRepack,
    Rule::BanCharField,
    Rule::PreferTimestampTz,
    Rule::UnusedIgnore,
    Rule::RequireEnumValueOrdering,
    Rule::PreferBigintOverSmallint,
    Rule::BanDropDefault,
    Rule::BanDropFunction,
];

/// Rules that the runner obeys in our own files.
const SEEN_TO: [Rule; 3] = [
    Rule::RequireLockTimeout,
    Rule::RequireStatementTimeout,
    Rule::RequireTimeoutSettings,
];

/// Rules about breaking the version that runs, which is gone at contract.
const FOR_THE_OLD: [Rule; 12] = [
    Rule::BanDropColumn,
    Rule::BanDropTable,
    Rule::BanDropView,
    Rule::BanDropType,
    Rule::BanDropSchema,
    Rule::BanDropSequence,
    Rule::BanDropDomain,
    Rule::BanDropConstraint,
    Rule::BanDropNotNull,
    Rule::RenamingColumn,
    Rule::RenamingTable,
    Rule::RenamingObject,
];

impl<'a> Script<'a> {
    /// A whole file of another tool.
    pub(crate) fn of_tool(file: &File<'a>) -> Self {
        let part = Part::new(file, 0..file.text.len(), file.text);
        Self {
            part,
            text: file.text.to_owned(),
            phase: Phase::Unknown,
        }
    }

    /// The text of a field, or of our own script.
    pub(crate) fn of(file: &File<'a>, text: &Text, phase: Phase) -> Self {
        let part = Part::new(file, text.span.clone(), text);
        Self {
            part,
            text: text.value.clone(),
            phase,
        }
    }

    /// Everything that is dangerous about it.
    pub(crate) fn findings(&self, known: Known<'_>) -> Vec<Finding> {
        let parsed = SourceFile::parse(&self.text);
        let mut findings = Vec::new();
        for error in parsed.errors() {
            let rule = ("syntax", Severity::Error);
            findings.push(
                self.part
                    .finding(rule, error.message(), error.range().into()),
            );
        }
        let mut excluded = NOT_TAKEN.to_vec();
        if self.phase != Phase::Unknown {
            excluded.extend(SEEN_TO);
        }
        if self.phase == Phase::Contract {
            excluded.extend(FOR_THE_OLD);
        }
        let mut linter = Linter::with_rules(&[], &excluded);
        linter.settings.assume_in_transaction = self.phase != Phase::Unknown;
        for violation in linter.lint(&parsed, &self.text) {
            // Our runner takes statements with CONCURRENTLY out of the transaction.
            let alone = violation.code == Rule::BanConcurrentIndexCreationInTransaction;
            if alone && self.phase != Phase::Unknown {
                continue;
            }
            let name = violation.code.to_string();
            let severity =
                match self.phase == Phase::Expand && FOR_THE_OLD.contains(&violation.code) {
                    true => Severity::Error,
                    false => Severity::Warning,
                };
            let range = violation.text_range.into();
            let mut finding = self
                .part
                .finding((&name, severity), violation.message, range);
            finding.help = violation.help;
            finding.fix = violation.fix.and_then(|fix| {
                let edits = fix.edits.into_iter();
                let edits = edits.map(|e| (e.text_range.into(), e.text.unwrap_or_default()));
                self.part.fix(fix.title, edits)
            });
            findings.push(finding);
        }
        findings.extend(rule::findings(
            (&self.part, self.phase),
            &parsed.tree(),
            known,
        ));
        findings.sort_by(|a, b| (a.span.start, &a.rule).cmp(&(b.span.start, &b.rule)));
        findings
    }
}
