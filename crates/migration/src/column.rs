//! Columns as SQL: how they are declared, what they get besides, and how they become NOT NULL or
//! an identity without a look at the rows.

use std::collections::BTreeSet;

use crate::draft::Draft;
use crate::mark::Demand;
use crate::schema::{Column, Constraint, ConstraintKind, Grant, Identity, Qualified, Sequence};
use crate::sql::{literal, quote};

/// A nullable column without anything.
pub(crate) fn plain(name: &str, data_type: &str) -> Column {
    Column {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        collation: None,
        nullable: true,
        default: None,
        generated: None,
        identity: None,
        sequence: None,
        comment: None,
        storage: None,
        compression: None,
        statistics: None,
        options: BTreeSet::new(),
        privileges: None,
        inherited: false,
    }
}

/// A column as it follows `ADD COLUMN`, without default and NOT NULL.
pub(crate) fn declared(column: &Column) -> String {
    let mut text = format!("{} {}", quote(&column.name), column.data_type);
    if let Some(collation) = &column.collation {
        text += &format!(" COLLATE {}", collation.sql());
    }
    text
}

/// The statements that give a new column its default, storage, statistics and comment.
pub(crate) fn attributes(on: &str, column: &Column) -> Vec<String> {
    let name = quote(&column.name);
    let mut statements = Vec::new();
    let mut alter =
        |what: String| statements.push(format!("ALTER TABLE {on} ALTER COLUMN {name} {what}"));
    if let Some(default) = &column.default {
        alter(format!("SET DEFAULT {default}"));
    }
    if let Some(storage) = &column.storage {
        alter(format!("SET STORAGE {storage}"));
    }
    if let Some(compression) = &column.compression {
        alter(format!("SET COMPRESSION {compression}"));
    }
    if let Some(statistics) = column.statistics {
        alter(format!("SET STATISTICS {statistics}"));
    }
    if !column.options.is_empty() {
        let options: Vec<&str> = column.options.iter().map(String::as_str).collect();
        alter(format!("SET ({})", options.join(", ")));
    }
    if let Some(comment) = &column.comment {
        statements.push(format!(
            "COMMENT ON COLUMN {on}.{name} IS {}",
            literal(comment)
        ));
    }
    statements
}

pub(crate) fn grant(on: &str, column: &str, grant: &Grant) -> String {
    let (to, option) = to_whom(grant);
    format!(
        "GRANT {} ({}) ON {on} TO {to}{option}",
        grant.privilege,
        quote(column)
    )
}

/// What follows `TO` in a grant.
pub(crate) fn to_whom(grant: &Grant) -> (String, &'static str) {
    let to = grant.grantee.as_deref().map_or("PUBLIC".to_owned(), quote);
    let option = match grant.grantable {
        true => " WITH GRANT OPTION",
        false => "",
    };
    (to, option)
}

/// Makes a column of the catalogue NOT NULL: by a check until contract. Where a write of an older
/// version may leave it NULL the check passes marked rows, and another proves at contract that
/// there are none.
pub(crate) fn require(draft: &mut Draft, table: usize, column: &str, name: &str) {
    let strict = format!("{} IS NOT NULL", quote(column));
    let constraint = Constraint {
        kind: ConstraintKind::Check,
        definition: String::new(),
        columns: vec![column.to_owned()],
        expression: Some(strict.clone()),
        foreign_key: None,
        index: None,
        validated: true,
        deferrable: false,
        initially_deferred: false,
        no_inherit: false,
        inherited: false,
        comment: None,
    };
    let check = draft.artefact(&format!("{name}_not_null"));
    let known = draft.world.tables[table].clone();
    if draft.may_leave_null(&known, column) {
        draft.demands.push(Demand {
            table: known.physical.clone(),
            columns: vec![column.to_owned()],
            condition: strict,
            reason: format!("`{name}` would be NULL, which the new version does not allow"),
        });
        let until = draft.artefact(&format!("{name}_not_null_until"));
        draft.enforce_until_contract(table, (&until, &check), &constraint);
    } else {
        draft.enforce(table, &check, &constraint);
    }
    let facts = &mut draft.world.tables[table].facts;
    for facts in facts.columns.iter_mut().filter(|c| c.name == column) {
        facts.nullable = false;
    }
    let end = draft.end(&known.physical);
    end.not_null.push((column.to_owned(), check));
}

/// The statements that make `column` an identity which goes on where `sequence` stands; the
/// sequence, and the identity of `before`, go.
pub(crate) fn identity(
    draft: &Draft,
    (on, column): (&str, &str),
    (sequence, who): (&Qualified, Identity),
    before: Option<&str>,
) -> Vec<String> {
    let who = match who {
        Identity::Always => "ALWAYS",
        Identity::ByDefault => "BY DEFAULT",
    };
    let mut options = format!("SEQUENCE NAME {}", sequence.sql());
    if let Some(it) = draft.world.sequences.get(&sequence.name) {
        options += &format!(
            " START WITH {} INCREMENT BY {} CACHE {}",
            it.start, it.increment, it.cache
        );
        options += if it.cycle { " CYCLE" } else { "" };
        options += &bounds(it);
    }
    let old = match before {
        Some(before) => format!(
            "  ALTER TABLE {on} ALTER COLUMN {} DROP IDENTITY;\n",
            quote(before)
        ),
        None => format!("  DROP SEQUENCE {};\n", sequence.sql()),
    };
    let column = quote(column);
    let body = format!(
        "\nDECLARE\n  reached bigint;\n  used boolean;\nBEGIN\n  \
         SELECT last_value, is_called INTO reached, used FROM {seq};\n  \
         ALTER TABLE {on} ALTER COLUMN {column} DROP DEFAULT;\n{old}  \
         ALTER TABLE {on} ALTER COLUMN {column} ADD GENERATED {who} AS IDENTITY ({options});\n  \
         PERFORM setval({name}, reached, used);\nEND\n",
        seq = sequence.sql(),
        name = literal(&sequence.sql()),
    );
    let mut statements = vec![format!("DO {}", crate::rule::dollar_quoted(&body))];
    statements.extend(belongings(draft, sequence));
    statements
}

/// The bounds of a sequence, where they are not those of its type: the new type has its own.
fn bounds(it: &Sequence) -> String {
    let (least, greatest) = match it.data_type.as_str() {
        "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    let by_type = match it.increment > 0 {
        true => (1, greatest),
        false => (least, -1),
    };
    match (it.min, it.max) == by_type {
        true => String::new(),
        false => format!(" MINVALUE {} MAXVALUE {}", it.min, it.max),
    }
}

/// What a sequence that is made again was granted and is said about it.
fn belongings(draft: &Draft, sequence: &Qualified) -> Vec<String> {
    let Some(it) = draft.world.sequences.get(&sequence.name) else {
        return Vec::new();
    };
    let name = sequence.sql();
    let others = it
        .privileges
        .iter()
        .flatten()
        .filter(|grant| grant.grantee.as_deref() != Some(&it.owner));
    let mut statements: Vec<String> = others
        .map(|grant| {
            let (to, option) = to_whom(grant);
            format!(
                "GRANT {} ON SEQUENCE {name} TO {to}{option}",
                grant.privilege
            )
        })
        .collect();
    if let Some(comment) = &it.comment {
        statements.push(format!(
            "COMMENT ON SEQUENCE {name} IS {}",
            literal(comment)
        ));
    }
    statements
}
