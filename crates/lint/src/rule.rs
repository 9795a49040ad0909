//! Our own rules about SQL: phases, sizes, lock queues, and what the running release uses.

use std::collections::BTreeSet;
use std::ops::Range;

use migration::schema::Table;
use squawk_syntax::ast::{self, AstNode};

use crate::place::Part;
use crate::statement::Phase;
use crate::{Finding, Known, Severity};

/// From how many rows on reading or writing all of them under a lock is felt.
const MANY_ROWS: u64 = 100_000;

/// What one statement does that matters.
struct Act {
    /// The table, without its schema.
    table: String,
    /// The column, if it is about one.
    column: Option<String>,
    kind: Kind,
    range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// What is there goes or gets another name.
    Removes,
    /// Every row is written anew while nobody reads.
    Rewrites,
    /// Every row is read while nobody writes.
    Scans,
    /// The catalogue changes, while nobody reads.
    Locks,
    /// Every row is changed in one transaction.
    ChangesAll,
}

/// Everything that our rules find.
pub(crate) fn findings(
    (part, phase): (&Part<'_>, Phase),
    tree: &ast::SourceFile,
    known: Known<'_>,
) -> Vec<Finding> {
    let acts: Vec<Act> = tree.stmts().flat_map(acts).collect();
    let mut findings = Vec::new();
    for act in &acts {
        findings.extend(used(part, act, known));
        findings.extend(size(part, act, known));
        if act.kind == Kind::ChangesAll {
            findings.push(changes_all(part, act, phase));
        }
    }
    findings.extend(queue(part, &acts));
    findings
}

/// What goes while the running release uses it.
fn used(part: &Part<'_>, act: &Act, known: Known<'_>) -> Option<Finding> {
    let used = known.used?.get(&act.table)?;
    let concerned = match &act.column {
        Some(column) => used.contains(column),
        None => true,
    };
    if act.kind != Kind::Removes || !concerned {
        return None;
    }
    let what = match &act.column {
        Some(column) => format!("`{}.{column}`", act.table),
        None => format!("`{}`", act.table),
    };
    let message = format!("the running release uses {what}: its requests would fail");
    let rule = ("removes-what-is-used", Severity::Error);
    let mut finding = part.finding(rule, message, act.range.clone());
    finding.help = Some(
        "ship a release that does not use it first, or write the change as an operation (`drop_column`, `rename_column`), which keeps both versions right".to_owned(),
    );
    Some(finding)
}

/// What works through a big table while others wait.
fn size(part: &Part<'_>, act: &Act, known: Known<'_>) -> Option<Finding> {
    let table: &Table = known.schema?.tables.get(&act.table)?;
    let rows = table.estimate.rows.filter(|rows| *rows >= MANY_ROWS)?;
    let does = match act.kind {
        Kind::Rewrites => "writes all of them anew while nobody can read or write",
        Kind::Scans => "reads all of them while nobody can write",
        Kind::Removes | Kind::Locks | Kind::ChangesAll => return None,
    };
    let bytes = table.estimate.total_bytes / (1 << 20);
    let message = format!(
        "`{}` has about {rows} rows ({bytes} MiB), and this {does}",
        act.table
    );
    let rule = ("works-under-a-lock", Severity::Error);
    let mut finding = part.finding(rule, message, act.range.clone());
    finding.help = Some(
        "write the change as an operation: it is done in batches beside readers and writers"
            .to_owned(),
    );
    Some(finding)
}

fn changes_all(part: &Part<'_>, act: &Act, phase: Phase) -> Finding {
    let rule = ("changes-every-row", Severity::Warning);
    let message = format!(
        "this changes every row of `{}` in one transaction: its locks last as long, and so do replicas' delays",
        act.table
    );
    let mut finding = part.finding(rule, message, act.range.clone());
    finding.help = Some(match phase {
        Phase::Unknown => {
            "change them in batches by a key, each in a transaction of its own".to_owned()
        }
        Phase::Expand | Phase::Contract => {
            "let an operation with `up` fill the column: in batches, and resumable".to_owned()
        }
    });
    finding
}

/// A second table locked while the first one still is: whoever waits for the first waits for
/// the second's readers as well.
fn queue(part: &Part<'_>, acts: &[Act]) -> Option<Finding> {
    let locking = |act: &&Act| act.kind != Kind::ChangesAll;
    let first = acts.iter().find(locking)?;
    let second = acts
        .iter()
        .filter(locking)
        .find(|act| act.table != first.table)?;
    let tables: BTreeSet<&str> = acts
        .iter()
        .filter(locking)
        .map(|a| a.table.as_str())
        .collect();
    let message = format!(
        "{} tables are locked in one transaction: while it waits for `{}`, nobody gets at `{}`",
        tables.len(),
        second.table,
        first.table
    );
    let rule = ("locks-several-tables", Severity::Warning);
    let mut finding = part.finding(rule, message, second.range.clone());
    finding.help =
        Some("one table a file, so that each lock is held for its own change only".to_owned());
    Some(finding)
}

fn acts(statement: ast::Stmt) -> Vec<Act> {
    match statement {
        ast::Stmt::AlterTable(it) => altered(&it),
        ast::Stmt::DropTable(it) => {
            let range: Range<usize> = it.syntax().text_range().into();
            let tables = it.table_name_refs().map(|name| Act {
                table: name_of(name.syntax()),
                column: None,
                kind: Kind::Removes,
                range: range.clone(),
            });
            tables.collect()
        }
        ast::Stmt::Update(it) if it.where_clause_or_current_of().is_none() => {
            changed(it.relation_name(), it.syntax().text_range().into())
        }
        ast::Stmt::Delete(it) if it.where_clause_or_current_of().is_none() => {
            changed(it.relation_name(), it.syntax().text_range().into())
        }
        _ => Vec::new(),
    }
}

fn changed(name: Option<ast::RelationName>, range: Range<usize>) -> Vec<Act> {
    let act = name.map(|name| Act {
        table: name_of(name.syntax()),
        column: None,
        kind: Kind::ChangesAll,
        range,
    });
    act.into_iter().collect()
}

fn altered(statement: &ast::AlterTable) -> Vec<Act> {
    let Some(name) = statement.table_relation_name() else {
        return Vec::new();
    };
    let table = name_of(name.syntax());
    let act = |action: ast::AlterTableAction| {
        let range = action.syntax().text_range().into();
        let (column, kind) = effect(&action)?;
        Some(Act {
            table: table.clone(),
            column,
            kind,
            range,
        })
    };
    statement.actions().filter_map(act).collect()
}

/// What an action does, and to which column; `None`: nothing that others feel.
fn effect(action: &ast::AlterTableAction) -> Option<(Option<String>, Kind)> {
    use ast::{AlterColumnOption, AlterTableAction as Action};
    let text = action.syntax().text().to_string().to_uppercase();
    match action {
        Action::DropColumn(it) => Some((
            it.column_name_ref().map(|n| name_of(n.syntax())),
            Kind::Removes,
        )),
        Action::RenameColumn(it) => Some((
            it.column_name_ref().map(|n| name_of(n.syntax())),
            Kind::Removes,
        )),
        Action::TableRenameTo(_) => Some((None, Kind::Removes)),
        Action::AlterColumn(it) => {
            let column = it.column_name_ref().map(|n| name_of(n.syntax()));
            let kind = match it.option()? {
                AlterColumnOption::SetType(_) => Kind::Rewrites,
                AlterColumnOption::SetNotNull(_) => Kind::Scans,
                _ => Kind::Locks,
            };
            Some((column, kind))
        }
        Action::AddColumn(_) => {
            let rewrites = [
                "RANDOM(",
                "GEN_RANDOM_UUID(",
                "CLOCK_TIMESTAMP(",
                "GENERATED",
                "SERIAL",
            ];
            let kind = match rewrites.iter().any(|word| text.contains(word)) {
                true => Kind::Rewrites,
                false => Kind::Locks,
            };
            Some((None, kind))
        }
        Action::AddConstraint(_) if text.contains("NOT VALID") || text.contains("USING INDEX") => {
            Some((None, Kind::Locks))
        }
        Action::AddConstraint(_) => Some((None, Kind::Scans)),
        Action::SetUnlogged(_) | Action::SetLogged(_) | Action::SetTablespace(_) => {
            Some((None, Kind::Rewrites))
        }
        Action::ValidateConstraint(_) => None,
        _ => Some((None, Kind::Locks)),
    }
}

/// The last part of a name as PostgreSQL takes it.
fn name_of(node: &squawk_syntax::SyntaxNode) -> String {
    let text = node.text().to_string();
    let trimmed = text.trim().trim_end_matches('*').trim();
    let trimmed = trimmed
        .strip_prefix("ONLY ")
        .or(trimmed.strip_prefix("only "))
        .unwrap_or(trimmed);
    match trimmed.ends_with('"') {
        true => trimmed
            .trim_end_matches('"')
            .rsplit('"')
            .next()
            .unwrap_or(trimmed)
            .to_owned(),
        false => trimmed
            .rsplit('.')
            .next()
            .unwrap_or(trimmed)
            .trim()
            .to_lowercase(),
    }
}
