//! Names and literals, quoted so that reserved words, capitals and spaces survive.

use crate::file::NAME_BYTES_MAX;
use crate::schema::Qualified;

/// What the names of everything begin with that a migration in progress adds.
pub(crate) const PREFIX: &str = "_gapless_";

/// A name as it stands in SQL; always in quotes, so that no list of reserved words is needed.
pub(crate) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Several names with commas between them.
pub(crate) fn quote_all<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|n| quote(n.as_ref())).collect();
    quoted.join(", ")
}

/// A text literal that means the same under any setting of `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    match doubled.contains('\\') {
        true => format!("E'{}'", doubled.replace('\\', "\\\\")),
        false => format!("'{doubled}'"),
    }
}

impl Qualified {
    /// The name as it stands in SQL.
    pub(crate) fn sql(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

/// A name of something that a migration in progress adds for `name`: the same at every
/// planning, never that of something else, and no longer than a name may be.
pub(crate) fn artefact(serial: u32, operation: usize, name: &str) -> String {
    shortened(&format!("{PREFIX}{serial}_{operation}_{name}"))
}

/// `name` if it is short enough, else its beginning and a digest of the whole.
pub(crate) fn shortened(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    let digest = format!("_{:08x}", fnv1a(name.as_bytes()));
    let end = name.floor_char_boundary(NAME_BYTES_MAX - digest.len());
    format!("{}{digest}", &name[..end])
}

/// The name that the server itself would give to something of a table's column: both names with
/// a label, the longer one cut where that is too long.
pub(crate) fn object_name(table: &str, column: &str, label: &str) -> String {
    let (mut table, mut column) = (table, column);
    let rest = label.len() + 2;
    while table.len() + column.len() + rest > NAME_BYTES_MAX {
        let longer = match table.len() > column.len() {
            true => &mut table,
            false => &mut column,
        };
        *longer = &longer[..longer.floor_char_boundary(longer.len() - 1)];
    }
    format!("{table}_{column}_{label}")
}

/// FNV-1a: enough to tell long names of one schema apart.
fn fnv1a(bytes: &[u8]) -> u32 {
    let fold = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    bytes.iter().fold(0x811c_9dc5, fold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_survive() {
        assert_eq!(quote("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn names_are_cut_where_the_server_would_cut_them() {
        assert_eq!(object_name("t", "c", "not_null"), "t_c_not_null");
        let name = object_name(&"t".repeat(63), &"é".repeat(30), "not_null");
        assert!(
            name.len() <= NAME_BYTES_MAX && name.len() > NAME_BYTES_MAX - 2,
            "{name}"
        );
        assert!(
            name.starts_with(&"t".repeat(26)) && name.ends_with("é_not_null"),
            "{name}"
        );
    }

    #[test]
    fn long_names_stay_apart_and_fit() {
        let (a, b) = ("ä".repeat(40), format!("{}x", "ä".repeat(40)));
        let (short_a, short_b) = (artefact(7, 0, &a), artefact(7, 0, &b));
        assert_ne!(short_a, short_b);
        assert!(short_a.len() <= NAME_BYTES_MAX && short_b.len() <= NAME_BYTES_MAX);
        assert!(short_a.starts_with("_gapless_7_0_ä"));
    }
}
