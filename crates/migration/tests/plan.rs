//! What each operation becomes.

use std::collections::{BTreeMap, BTreeSet};

use migration::plan::{Key, Plan, Run, Step};
use migration::schema::{Role, Schema};
use migration::{Database, Migration, Open, plan, read};

const BASE: &str = "
operations:
  - create_table:
      name: users
      columns:
        - {name: id, type: int, generated: {identity: {user_specified_values: BY DEFAULT}}, pk: true}
        - {name: name, type: varchar(80)}
        - {name: email, type: text, nullable: true, unique: true}
        - {name: age, type: int, default: '18', check: {name: grown, constraint: age >= 18}}
  - create_table:
      name: orders
      columns:
        - {name: id, type: bigserial, pk: true}
        - {name: user_id, type: int, references: {name: of_user, table: users, column: id, on_delete: CASCADE}}
        - {name: total, type: 'numeric(10,2)'}
      constraints:
        - {name: sane, type: check, columns: [user_id, total], check: user_id > 0 AND total > 0}
  - create_index: {name: orders_total, table: orders, columns: [{column: total, sort: DESC}]}
";

fn empty() -> Schema {
    Schema {
        name: "public".to_owned(),
        server_version: 150_018,
        role: Role {
            name: "owner".to_owned(),
            search_path: "\"$user\", public".to_owned(),
            ..Role::default()
        },
        tables: BTreeMap::new(),
        views: BTreeMap::new(),
        sequences: BTreeMap::new(),
        types: BTreeMap::new(),
        functions: BTreeMap::new(),
        others: BTreeSet::new(),
    }
}

fn file(name: &str, yaml: &str) -> Migration {
    read(name, yaml).unwrap_or_else(|report| panic!("{}", report.render(name, yaml)))
}

/// Plans `operation` after a migration that makes two tables and is still in progress.
fn result(operation: &str) -> Result<Plan, String> {
    let yaml = format!("operations:\n  - {operation}\n");
    let (base, change) = (file("base.yaml", BASE), file("change.yaml", &yaml));
    let schema = empty();
    let open = [(1, &base), (2, &change)].map(|(serial, migration)| Open { serial, migration });
    let database = Database {
        schema: &schema,
        published: None,
        open: &open,
    };
    plan(&database).map_err(|report| report.render("change.yaml", &yaml))
}

fn planned(operation: &str) -> String {
    let plan = result(operation).unwrap_or_else(|refused| panic!("{refused}"));
    let mut out = String::new();
    let mut part = |name: &str, steps: &[Step]| {
        out += &format!("== {name}\n");
        steps.iter().for_each(|step| out += &shown(step));
    };
    part("expand", &plan.expand);
    let fill = plan.backfill.iter().map(|fill| {
        let key = match &fill.key {
            Key::Columns { columns, .. } => columns.join(", "),
            Key::Ctid => "ctid".to_owned(),
        };
        let set = fill
            .set
            .iter()
            .map(|set| format!("{} = {}", set.column, set.expression));
        let set = set.collect::<Vec<_>>().join(", ");
        format!("{} AS {} by {key}: {set}", fill.table, fill.alias)
    });
    let fill: Vec<String> = fill.collect();
    part(
        &format!("publish, after filling in {fill:?}"),
        &plan.publish,
    );
    part("contract", &plan.contract);
    part("abort", &plan.abort);
    for note in &plan.notes {
        out += &format!("{:?}: {}\n", note.level, note.text);
    }
    out
}

fn shown(step: &Step) -> String {
    let how = match &step.run {
        Run::Together => "together",
        Run::Validate => "validate",
        Run::Alone { .. } => "alone",
    };
    let locks = step
        .locks
        .iter()
        .map(|lock| format!("{} {}", lock.table.name, lock.level.name()));
    let locks = locks.collect::<Vec<_>>().join(", ");
    let sql = step.statements.join(";\n");
    format!(
        "-- {} ({how}; {:?}; {locks})\n{sql};\n",
        step.title, step.cost
    )
}

macro_rules! snapshots {
    ($($name:ident: $operation:expr;)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(planned($operation));
        })*
    };
}

snapshots! {
    create_table: "create_table: {name: t, comment: it's new, columns: [{name: id, type: uuid, pk: true, default: gen_random_uuid()}, {name: User, type: int, nullable: true, references: {table: users, column: id}}], constraints: [{name: u, type: unique, columns: [User], nulls_not_distinct: true, index_parameters: {include_columns: [id]}}]}";
    add_column: "add_column: {table: users, up: lower(name), column: {name: nick, type: text, unique: true, check: {name: not_empty, constraint: nick <> ''}}}";
    add_column_with_constant_default: "add_column: {table: users, column: {name: seen, type: timestamptz, default: now()}}";
    add_column_with_volatile_default: "add_column: {table: users, column: {name: token, type: uuid, default: gen_random_uuid()}}";
    add_identity_column: "add_column: {table: orders, column: {name: number, type: bigint, generated: {identity: {user_specified_values: ALWAYS}}}}";
    alter_column_type: "alter_column: {table: users, column: id, type: bigint, up: id, down: id}";
    alter_column_nullable: "alter_column: {table: users, column: email, nullable: false, up: \"COALESCE(email, '')\", down: email}";
    alter_column_default_and_comment: "alter_column: {table: users, column: age, default: null, comment: in years}";
    alter_column_unique_in_place: "alter_column: {table: users, column: name, unique: {name: one_name}, up: name, down: name}";
    rename_column: "rename_column: {table: users, from: name, to: full name}";
    rename_constraint: "rename_constraint: {table: users, from: grown, to: adult}";
    rename_table: "rename_table: {from: users, to: people}";
    drop_column: "drop_column: {table: users, column: name, down: \"split_part(email, '@', 1)\"}";
    drop_table: "drop_table: {name: orders}";
    create_index: "create_index: {name: by_age, table: users, columns: [{column: age, sort: DESC, nulls: LAST}], method: btree, predicate: age > 60, storage_parameters: fillfactor = 70}";
    drop_index: "drop_index: {name: orders_total}";
    create_constraint: "create_constraint: {table: orders, name: enough, type: check, columns: [total], check: total >= 1, up: {total: 'greatest(total, 1)'}, down: {total: total}}";
    drop_constraint: "drop_constraint: {table: users, name: grown, up: age, down: 'greatest(age, 18)'}";
    drop_multicolumn_constraint: "drop_multicolumn_constraint: {table: orders, name: sane, up: {user_id: user_id, total: total}, down: {user_id: user_id, total: 'greatest(total, 0.01)'}}";
    sql: "sql: {up: 'CREATE INDEX CONCURRENTLY i ON users (name); ANALYZE users', down: DROP INDEX i}";
    set_replica_identity: "set_replica_identity: {table: users, identity: {type: index, index: users_pkey}}";
}

/// Each is refused, with a place.
#[test]
fn what_cannot_work_is_refused() {
    let long = format!("rename_table: {{from: users, to: {}}}", "x".repeat(64));
    let operations = [
        "add_column: {table: usres, column: {name: a, type: int}}",
        "add_column: {table: users, column: {name: age, type: int}}",
        "add_column: {table: users, column: {name: a, type: int}}",
        "add_column: {table: users, up: agee, column: {name: a, type: int}}",
        "alter_column: {table: users, column: nme, nullable: true}",
        "alter_column: {table: users, column: age, type: text}",
        "alter_column: {table: users, column: email, nullable: false}",
        "alter_column: {table: users, column: age, nullable: true}",
        "rename_column: {table: users, from: age, to: name}",
        "rename_table: {from: users, to: orders}",
        long.as_str(),
        "drop_table: {name: users}",
        "drop_column: {table: users, column: id}",
        "drop_column: {table: users, column: name}",
        "drop_index: {name: users_pkey}",
        "drop_constraint: {table: users, name: grwn}",
        "drop_constraint: {table: orders, name: sane}",
        "create_constraint: {table: users, name: k, type: primary_key, columns: [name]}",
        "create_constraint: {table: orders, name: k, type: foreign_key, columns: [user_id, id], references: {table: users, columns: [id]}}",
        "create_index: {name: orders, table: users, columns: [{column: id}]}",
        "sql: {up: BEGIN; SELECT 1; COMMIT}",
        "sql: {up: 'SELECT $$ a'}",
    ];
    let refused = operations.map(|operation| result(operation).expect_err(operation));
    insta::assert_snapshot!(refused.concat());
}

#[test]
fn a_down_that_names_no_column_is_to_be_asked_about() {
    let operation =
        "alter_column: {table: users, column: age, type: text, up: age::text, down: ages}";
    assert!(planned(operation).contains("Ask: `down: ages` names no column"));
}
