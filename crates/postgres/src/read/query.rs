//! The queries: each answers rows of a name and a JSON document.

/// `{schema, name}` of the relation `$`.
const QUALIFIED: &str = "(SELECT json_build_object('schema', qn.nspname, 'name', q.relname) \
    FROM pg_class q JOIN pg_namespace qn ON qn.oid = q.relnamespace WHERE q.oid = $)";

/// The queries for one version of the server: what it does not have yet is left out.
pub(super) struct Queries {
    version: u32,
}

impl Queries {
    pub(super) fn new(version: u32) -> Self {
        Self { version }
    }

    fn since(&self, version: u32, sql: &str, before: &str) -> String {
        match self.version >= version {
            true => sql.to_owned(),
            false => before.to_owned(),
        }
    }

    pub(super) fn role(&self) -> String {
        let silence = self.since(
            150_000,
            "has_parameter_privilege(current_user, 'session_replication_role', 'SET')",
            "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
        );
        format!(
            "SELECT json_build_object(
                'name', current_user,
                'superuser', (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
                'member_of', (SELECT coalesce(json_agg(rolname ORDER BY rolname), '[]')
                    FROM pg_roles WHERE pg_has_role(current_user, oid, 'USAGE')),
                'may_create_schema', has_database_privilege(current_database(), 'CREATE'),
                'may_create_here', has_schema_privilege(n.oid, 'CREATE'),
                'may_silence_triggers', {silence},
                'search_path', '')::text
            FROM pg_namespace n WHERE n.nspname = $1"
        )
    }

    pub(super) fn others(&self) -> &'static str {
        "SELECT coalesce(json_agg(nspname ORDER BY nspname), '[]')::text FROM pg_namespace
         WHERE nspname <> $1 AND nspname !~ '^pg_' AND nspname <> 'information_schema'"
    }

    pub(super) fn tables(&self) -> String {
        let parts = [
            TABLE.to_owned(),
            format!("'columns', {}", self.columns()),
            format!("'constraints', {}", self.constraints()),
            format!("'indexes', {}", self.indexes()),
            format!("'triggers', {TRIGGERS}"),
            format!("'rules', {RULES}"),
            format!("'policies', {POLICIES}"),
            format!("'statistics', {STATISTICS}"),
            format!(
                "'privileges', {}",
                grants("c.relacl", "acldefault('r', c.relowner)")
            ),
            format!("'publications', {}", self.publications()),
            HERITAGE
                .replace("$parent", &QUALIFIED.replace('$', "i.inhparent"))
                .replace("$child", &QUALIFIED.replace('$', "i.inhrelid")),
            format!(
                "'referenced_by', {}",
                REFERENCED_BY.replace("$table", &QUALIFIED.replace('$', "k.conrelid"))
            ),
            format!("'dependents', {DEPENDENTS}"),
            format!("'estimate', {ESTIMATE}"),
        ];
        relations("'r', 'p', 'f'", &parts.join(",\n"))
    }

    pub(super) fn views(&self) -> String {
        let parts = [
            VIEW.to_owned(),
            format!("'columns', {}", self.columns()),
            format!("'triggers', {TRIGGERS}"),
            format!("'indexes', {}", self.indexes()),
            format!("'rules', {RULES}"),
            format!(
                "'privileges', {}",
                grants("c.relacl", "acldefault('r', c.relowner)")
            ),
            format!("'dependents', {DEPENDENTS}"),
        ];
        relations("'v', 'm'", &parts.join(",\n"))
    }

    fn columns(&self) -> String {
        let sequence = QUALIFIED.replace('$', "s.objid");
        let granted = grants("a.attacl", "'{}'::aclitem[]");
        COLUMNS
            .replace("$sequence", &sequence)
            .replace("$granted", &granted)
    }

    fn constraints(&self) -> String {
        let delete_columns = self.since(150_000, "k.confdelsetcols", "NULL::int2[]");
        let table = QUALIFIED.replace('$', "k.confrelid");
        CONSTRAINTS
            .replace("$delete_columns", &delete_columns)
            .replace("$table", &table)
    }

    fn indexes(&self) -> String {
        let not_distinct = self.since(150_000, "i.indnullsnotdistinct", "false");
        let part_of = QUALIFIED.replace('$', "h.inhparent");
        INDEXES
            .replace("$not_distinct", &not_distinct)
            .replace("$part_of", &part_of)
    }

    fn publications(&self) -> String {
        let by_schema = self.since(
            150_000,
            "OR EXISTS (SELECT FROM pg_publication_namespace x WHERE x.pnpubid = p.oid AND x.pnnspid = c.relnamespace)",
            "",
        );
        format!(
            "(SELECT coalesce(json_agg(p.pubname ORDER BY p.pubname), '[]') FROM pg_publication p
              WHERE p.puballtables
              OR EXISTS (SELECT FROM pg_publication_rel x WHERE x.prpubid = p.oid AND x.prrelid = c.oid)
              {by_schema})"
        )
    }

    pub(super) fn sequences(&self) -> String {
        let parts = SEQUENCE.replace("$table", &QUALIFIED.replace('$', "d.refobjid"));
        let granted = grants("c.relacl", "acldefault('s', c.relowner)");
        relations("'S'", &format!("{parts}, 'privileges', {granted}"))
    }

    pub(super) fn types(&self) -> &'static str {
        TYPES
    }

    pub(super) fn functions(&self) -> &'static str {
        FUNCTIONS
    }
}

/// The query for relations of the kinds `kinds`, without those of extensions.
fn relations(kinds: &str, parts: &str) -> String {
    format!(
        "SELECT c.relname::text, json_build_object(
            'owner', pg_get_userbyid(c.relowner),
            'comment', obj_description(c.oid, 'pg_class'),
            {parts})::text
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relkind IN ({kinds}) AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass
            AND e.objid = c.oid AND e.deptype = 'e')"
    )
}

/// The grants of `acl`, or NULL where they are what `default` says.
fn grants(acl: &str, default: &str) -> String {
    format!(
        "CASE WHEN {acl} IS NULL OR ({acl} @> {default} AND {acl} <@ {default}) THEN NULL ELSE
         (SELECT coalesce(json_agg(json_build_object(
            'grantee', CASE WHEN x.grantee = 0 THEN NULL ELSE pg_get_userbyid(x.grantee) END,
            'privilege', x.privilege_type, 'grantable', x.is_grantable)), '[]')
          FROM aclexplode({acl}) x) END"
    )
}

const TABLE: &str = "
'kind', CASE c.relkind WHEN 'r' THEN 'ordinary' WHEN 'p' THEN 'partitioned' ELSE 'foreign' END,
'persistence', CASE c.relpersistence WHEN 'u' THEN 'unlogged' ELSE 'permanent' END,
'row_security', CASE WHEN c.relforcerowsecurity AND c.relrowsecurity THEN 'forced'
    WHEN c.relrowsecurity THEN 'on' ELSE 'off' END,
'replica_identity', CASE c.relreplident WHEN 'd' THEN '\"default\"'::json
    WHEN 'n' THEN '\"nothing\"'::json WHEN 'f' THEN '\"full\"'::json
    ELSE coalesce((SELECT json_build_object('index', x.relname) FROM pg_index i
        JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisreplident),
        '\"nothing\"'::json) END,
'options', coalesce(to_json(c.reloptions), '[]'),
'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = c.reltablespace)";

const VIEW: &str = "
'kind', CASE c.relkind WHEN 'v' THEN 'plain' ELSE 'materialized' END,
'definition', pg_get_viewdef(c.oid),
'options', coalesce(to_json(c.reloptions), '[]')";

const COLUMNS: &str = "
(SELECT coalesce(json_agg(json_build_object(
    'name', a.attname,
    'data_type', format_type(a.atttypid, a.atttypmod),
    'collation', (SELECT json_build_object('schema', qn.nspname, 'name', q.collname)
        FROM pg_collation q JOIN pg_namespace qn ON qn.oid = q.collnamespace
        WHERE q.oid = a.attcollation AND a.attcollation <> t.typcollation),
    'nullable', NOT a.attnotnull,
    'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
    'generated', CASE WHEN a.attgenerated <> '' THEN json_build_object(
        'kind', CASE a.attgenerated WHEN 's' THEN 'stored' ELSE 'virtual' END,
        'expression', pg_get_expr(d.adbin, d.adrelid),
        'columns', (SELECT coalesce(json_agg(DISTINCT r.attname), '[]') FROM pg_depend p
            JOIN pg_attribute r ON r.attrelid = p.refobjid AND r.attnum = p.refobjsubid
            WHERE p.refclassid = 'pg_class'::regclass AND p.refobjid = c.oid
            AND p.refobjsubid > 0 AND p.refobjsubid <> a.attnum
            AND ((p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid)
                OR (p.classid = 'pg_class'::regclass AND p.objid = c.oid AND p.objsubid = a.attnum)))) END,
    'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by_default' END,
    'sequence', (SELECT $sequence FROM pg_depend s JOIN pg_class sc ON sc.oid = s.objid AND sc.relkind = 'S'
        WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
        AND s.refobjid = c.oid AND s.refobjsubid = a.attnum AND s.deptype IN ('a', 'i') LIMIT 1),
    'comment', col_description(c.oid, a.attnum),
    'storage', CASE WHEN a.attstorage <> t.typstorage THEN CASE a.attstorage WHEN 'p' THEN 'plain'
        WHEN 'm' THEN 'main' WHEN 'e' THEN 'external' ELSE 'extended' END END,
    'compression', CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
    'statistics', nullif(a.attstattarget, -1),
    'options', coalesce(to_json(a.attoptions), '[]'),
    'privileges', $granted,
    'inherited', a.attinhcount > 0) ORDER BY a.attnum), '[]')
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)";

const CONSTRAINTS: &str = "
(SELECT coalesce(json_object_agg(k.conname, json_build_object(
    'kind', CASE k.contype WHEN 'p' THEN 'primary_key' WHEN 'u' THEN 'unique' WHEN 'c' THEN 'check'
        WHEN 'f' THEN 'foreign_key' WHEN 'x' THEN 'exclusion' ELSE 'not_null' END,
    'definition', pg_get_constraintdef(k.oid),
    'columns', (SELECT coalesce(json_agg(a.attname ORDER BY CASE WHEN k.contype = 'c' THEN a.attnum ELSE u.nth END), '[]')
        FROM unnest(k.conkey) WITH ORDINALITY u(num, nth)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
    'expression', CASE WHEN k.contype = 'c' THEN pg_get_expr(k.conbin, k.conrelid) END,
    'foreign_key', CASE WHEN k.contype = 'f' THEN json_build_object(
        'table', $table,
        'columns', (SELECT json_agg(a.attname ORDER BY u.nth)
            FROM unnest(k.confkey) WITH ORDINALITY u(num, nth)
            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num),
        'on_update', CASE k.confupdtype WHEN 'a' THEN 'no_action' WHEN 'r' THEN 'restrict'
            WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set_null' ELSE 'set_default' END,
        'on_delete', CASE k.confdeltype WHEN 'a' THEN 'no_action' WHEN 'r' THEN 'restrict'
            WHEN 'c' THEN 'cascade' WHEN 'n' THEN 'set_null' ELSE 'set_default' END,
        'on_delete_columns', (SELECT coalesce(json_agg(a.attname ORDER BY u.nth), '[]')
            FROM unnest($delete_columns) WITH ORDINALITY u(num, nth)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
        'match_type', CASE k.confmatchtype WHEN 'f' THEN 'full' ELSE 'simple' END) END,
    'index', CASE WHEN k.contype IN ('p', 'u', 'x') THEN
        (SELECT x.relname FROM pg_class x WHERE x.oid = k.conindid) END,
    'validated', k.convalidated,
    'deferrable', k.condeferrable,
    'initially_deferred', k.condeferred,
    'no_inherit', k.connoinherit AND k.contype IN ('c', 'n'),
    'inherited', k.coninhcount > 0 OR k.conparentid <> 0,
    'comment', obj_description(k.oid, 'pg_constraint'))), '{}')
FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'c', 'f', 'x', 'n')
AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid))";

const INDEXES: &str = "
(SELECT coalesce(json_object_agg(ic.relname, json_build_object(
    'definition', pg_get_indexdef(i.indexrelid),
    'method', am.amname,
    'unique', i.indisunique,
    'nulls_not_distinct', $not_distinct,
    'parts', (SELECT json_agg(json_build_object(
        'key', CASE WHEN i.indkey[k.n - 1] = 0
            THEN json_build_object('expression', pg_get_indexdef(i.indexrelid, k.n, false))
            ELSE json_build_object('column', a.attname) END,
        'descending', i.indoption[k.n - 1] & 1 = 1,
        'nulls_first', i.indoption[k.n - 1] & 2 = 2,
        'opclass', CASE WHEN NOT o.opcdefault OR x.attoptions IS NOT NULL THEN
            quote_ident(opn.nspname) || '.' || quote_ident(o.opcname)
            || coalesce('(' || array_to_string(x.attoptions, ', ') || ')', '') END,
        'collation', (SELECT json_build_object('schema', qn.nspname, 'name', q.collname)
            FROM pg_collation q JOIN pg_namespace qn ON qn.oid = q.collnamespace
            WHERE q.oid = i.indcollation[k.n - 1]
            AND q.oid <> coalesce(a.attcollation, xt.typcollation))) ORDER BY k.n)
        FROM generate_series(1, i.indnkeyatts) k(n)
        JOIN pg_opclass o ON o.oid = i.indclass[k.n - 1]
        JOIN pg_namespace opn ON opn.oid = o.opcnamespace
        JOIN pg_attribute x ON x.attrelid = i.indexrelid AND x.attnum = k.n
        JOIN pg_type xt ON xt.oid = x.atttypid
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1] AND a.attnum <> 0),
    'include', (SELECT coalesce(json_agg(a.attname ORDER BY k.n), '[]')
        FROM generate_series(i.indnkeyatts + 1, i.indnatts) k(n)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k.n - 1]),
    'predicate', pg_get_expr(i.indpred, i.indrelid),
    'expression_columns', (SELECT coalesce(json_agg(DISTINCT a.attname), '[]') FROM pg_depend p
        JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid
        WHERE p.classid = 'pg_class'::regclass AND p.objid = i.indexrelid
        AND p.refclassid = 'pg_class'::regclass AND p.refobjid = i.indrelid
        AND p.refobjsubid > 0 AND p.refobjsubid <> ALL (i.indkey::int2[])),
    'options', coalesce(to_json(ic.reloptions), '[]'),
    'tablespace', (SELECT spcname FROM pg_tablespace WHERE oid = ic.reltablespace),
    'constraint', (SELECT k.conname FROM pg_constraint k WHERE k.conindid = i.indexrelid
        AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u', 'x')),
    'valid', i.indisvalid AND i.indisready AND i.indislive,
    'clustered', i.indisclustered,
    'part_of', (SELECT $part_of FROM pg_inherits h WHERE h.inhrelid = i.indexrelid),
    'comment', obj_description(i.indexrelid, 'pg_class'),
    'bytes', pg_relation_size(i.indexrelid))), '{}')
FROM pg_index i JOIN pg_class ic ON ic.oid = i.indexrelid JOIN pg_am am ON am.oid = ic.relam
WHERE i.indrelid = c.oid)";

const TRIGGERS: &str = "
(SELECT coalesce(json_object_agg(t.tgname, json_build_object(
    'definition', pg_get_triggerdef(t.oid),
    'timing', CASE WHEN t.tgtype & 64 <> 0 THEN 'instead_of' WHEN t.tgtype & 2 <> 0 THEN 'before' ELSE 'after' END,
    'events', to_json(array_remove(ARRAY[
        CASE WHEN t.tgtype & 4 <> 0 THEN 'insert' END, CASE WHEN t.tgtype & 16 <> 0 THEN 'update' END,
        CASE WHEN t.tgtype & 8 <> 0 THEN 'delete' END, CASE WHEN t.tgtype & 32 <> 0 THEN 'truncate' END], NULL)),
    'columns', (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]') FROM pg_attribute a
        WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr::int2[])),
    'needs', (SELECT coalesce(json_agg(DISTINCT a.attname), '[]') FROM pg_depend p
        JOIN pg_attribute a ON a.attrelid = p.refobjid AND a.attnum = p.refobjsubid
        WHERE p.classid = 'pg_trigger'::regclass AND p.objid = t.oid
        AND p.refclassid = 'pg_class'::regclass AND p.refobjid = t.tgrelid AND p.refobjsubid > 0),
    'level', CASE WHEN t.tgtype & 1 <> 0 THEN 'row' ELSE 'statement' END,
    'function', json_build_object('schema', fn.nspname, 'name', f.proname),
    'firing', CASE t.tgenabled WHEN 'O' THEN 'origin' WHEN 'R' THEN 'replica' WHEN 'A' THEN 'always' ELSE 'disabled' END,
    'constraint', t.tgconstraint <> 0,
    'inherited', t.tgparentid <> 0,
    'comment', obj_description(t.oid, 'pg_trigger'))), '{}')
FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace fn ON fn.oid = f.pronamespace
WHERE t.tgrelid = c.oid AND (NOT t.tgisinternal OR t.tgparentid <> 0 AND EXISTS (
    SELECT FROM pg_trigger p WHERE p.oid = t.tgparentid AND NOT p.tgisinternal)))";

const RULES: &str = "
(SELECT coalesce(json_object_agg(r.rulename, pg_get_ruledef(r.oid)), '{}') FROM pg_rewrite r
WHERE r.ev_class = c.oid AND r.rulename <> '_RETURN')";

const POLICIES: &str = "
(SELECT coalesce(json_object_agg(p.polname, json_build_object(
    'permissive', p.polpermissive,
    'command', CASE p.polcmd WHEN 'r' THEN 'select' WHEN 'a' THEN 'insert' WHEN 'w' THEN 'update'
        WHEN 'd' THEN 'delete' ELSE 'all' END,
    'roles', (SELECT coalesce(json_agg(pg_get_userbyid(r.oid)), '[]') FROM unnest(p.polroles) r(oid) WHERE r.oid <> 0),
    'using', pg_get_expr(p.polqual, p.polrelid),
    'with_check', pg_get_expr(p.polwithcheck, p.polrelid),
    'needs', (SELECT coalesce(json_agg(DISTINCT a.attname), '[]') FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = p.polrelid AND d.refobjsubid > 0),
    'comment', obj_description(p.oid, 'pg_policy'))), '{}')
FROM pg_policy p WHERE p.polrelid = c.oid)";

const STATISTICS: &str = "
(SELECT coalesce(json_object_agg(sn.nspname || '.' || s.stxname, json_build_object(
    'definition', pg_get_statisticsobjdef(s.oid),
    'columns', (SELECT coalesce(json_agg(DISTINCT a.attname), '[]') FROM pg_depend d
        JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        WHERE d.classid = 'pg_statistic_ext'::regclass AND d.objid = s.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid > 0))), '{}')
FROM pg_statistic_ext s JOIN pg_namespace sn ON sn.oid = s.stxnamespace WHERE s.stxrelid = c.oid)";

const HERITAGE: &str = "
'partitioning', (SELECT json_build_object('key', pg_get_partkeydef(c.oid),
    'columns', (SELECT coalesce(json_agg(a.attname ORDER BY u.nth), '[]')
        FROM unnest(p.partattrs::int2[]) WITH ORDINALITY u(num, nth)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.num))
    FROM pg_partitioned_table p WHERE p.partrelid = c.oid),
'partition_of', CASE WHEN c.relispartition THEN (SELECT json_build_object(
    'parent', $parent, 'bound', pg_get_expr(c.relpartbound, c.oid))
    FROM pg_inherits i WHERE i.inhrelid = c.oid) END,
'inherits', (SELECT coalesce(json_agg($parent ORDER BY i.inhseqno), '[]')
    FROM pg_inherits i WHERE i.inhrelid = c.oid AND NOT c.relispartition),
'children', (SELECT coalesce(json_agg($child), '[]') FROM pg_inherits i WHERE i.inhparent = c.oid)";

const REFERENCED_BY: &str = "
(SELECT coalesce(json_agg(json_build_object('table', $table, 'constraint', k.conname,
    'columns', (SELECT json_agg(a.attname ORDER BY u.nth)
        FROM unnest(k.confkey) WITH ORDINALITY u(num, nth)
        JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num))), '[]')
FROM pg_constraint k WHERE k.confrelid = c.oid AND k.contype = 'f'
AND NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid))";

const DEPENDENTS: &str = "
(SELECT coalesce(json_agg(json_build_object('kind', s.kind,
    'name', json_build_object('schema', s.nspname, 'name', s.name), 'columns', s.columns)
    ORDER BY s.kind, s.nspname, s.name), '[]')
FROM (SELECT o.kind, o.nspname, o.name,
    coalesce(json_agg(DISTINCT a.attname) FILTER (WHERE a.attname IS NOT NULL), '[]') AS columns
    FROM pg_depend d
    JOIN LATERAL (
        SELECT CASE v.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'rule' END AS kind,
            vn.nspname, v.relname AS name
        FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class JOIN pg_namespace vn ON vn.oid = v.relnamespace
        WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND v.oid <> c.oid
        UNION ALL
        SELECT 'function', fn.nspname, f.proname FROM pg_proc f JOIN pg_namespace fn ON fn.oid = f.pronamespace
        WHERE d.classid = 'pg_proc'::regclass AND f.oid = d.objid
        UNION ALL
        SELECT 'policy', pn.nspname, pc.relname FROM pg_policy p JOIN pg_class pc ON pc.oid = p.polrelid
        JOIN pg_namespace pn ON pn.oid = pc.relnamespace
        WHERE d.classid = 'pg_policy'::regclass AND p.oid = d.objid AND p.polrelid <> c.oid
    ) o ON true
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid AND d.refobjsubid > 0
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.deptype IN ('n', 'a')
    GROUP BY o.kind, o.nspname, o.name) s)";

const ESTIMATE: &str = "
(SELECT json_build_object(
    'rows', CASE WHEN bool_and(l.reltuples < 0) THEN NULL ELSE sum(CASE
        WHEN l.reltuples < 0 THEN 0
        WHEN l.relpages > 0 THEN l.reltuples / l.relpages * (pg_relation_size(l.oid) / current_setting('block_size')::int8)
        ELSE l.reltuples END)::int8 END,
    'bytes', coalesce(sum(pg_relation_size(l.oid)), 0)::int8,
    'total_bytes', coalesce(sum(pg_total_relation_size(l.oid)), 0)::int8)
FROM pg_class l WHERE l.relkind IN ('r', 'f') AND (l.oid = c.oid
    OR c.relkind = 'p' AND l.oid IN (SELECT relid FROM pg_partition_tree(c.oid))))";

const SEQUENCE: &str = "
'data_type', (SELECT format_type(s.seqtypid, NULL) FROM pg_sequence s WHERE s.seqrelid = c.oid),
'start', (SELECT s.seqstart FROM pg_sequence s WHERE s.seqrelid = c.oid),
'increment', (SELECT s.seqincrement FROM pg_sequence s WHERE s.seqrelid = c.oid),
'min', (SELECT s.seqmin FROM pg_sequence s WHERE s.seqrelid = c.oid),
'max', (SELECT s.seqmax FROM pg_sequence s WHERE s.seqrelid = c.oid),
'cache', (SELECT s.seqcache FROM pg_sequence s WHERE s.seqrelid = c.oid),
'cycle', (SELECT s.seqcycle FROM pg_sequence s WHERE s.seqrelid = c.oid),
'owned_by', (SELECT json_build_object('table', $table, 'column', a.attname, 'identity', d.deptype = 'i')
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_class'::regclass
    AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))";

const TYPES: &str = "
SELECT t.typname::text, json_build_object('owner', pg_get_userbyid(t.typowner),
    'comment', obj_description(t.oid, 'pg_type'),
    'kind', CASE t.typtype
        WHEN 'e' THEN json_build_object('kind', 'enum', 'labels',
            (SELECT coalesce(json_agg(e.enumlabel ORDER BY e.enumsortorder), '[]') FROM pg_enum e WHERE e.enumtypid = t.oid))
        WHEN 'd' THEN json_build_object('kind', 'domain', 'base', format_type(t.typbasetype, t.typtypmod),
            'not_null', t.typnotnull, 'default', t.typdefault,
            'checks', (SELECT coalesce(json_object_agg(k.conname, pg_get_constraintdef(k.oid)), '{}')
                FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
        WHEN 'c' THEN json_build_object('kind', 'composite', 'fields',
            (SELECT coalesce(json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum), '[]')
                FROM pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))
        ELSE json_build_object('kind', 'range', 'subtype',
            (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)) END)::text
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE n.nspname = $1 AND t.typtype IN ('e', 'd', 'r', 'c')
AND (t.typtype <> 'c' OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_type'::regclass AND e.objid = t.oid AND e.deptype = 'e')";

const FUNCTIONS: &str = "
SELECT p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', json_build_object(
    'definition', CASE WHEN p.prokind = 'a' THEN
        p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')' ELSE pg_get_functiondef(p.oid) END,
    'owner', pg_get_userbyid(p.proowner),
    'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END)::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = $1
AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e')";
