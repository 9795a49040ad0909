//! Names as SQL wants them.

use migration::schema::Qualified;

/// A name between quotes, whatever it holds.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name with its schema, between quotes.
pub(crate) fn qualified(name: &Qualified) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.name))
}
