//! Migration files: text to a [`Migration`], or every mistake at once with its span.

mod fields;
mod script;
mod tree;

pub use fields::Choice;
pub(crate) use fields::Fields;
pub(crate) use tree::Node;

use model::diagnostic::{Mistake, Mistakes, Report, Span};
use sha2::{Digest, Sha256};

use crate::op::Operation;

/// The most bytes of a migration file.
const BYTES_MAX: usize = 1 << 20;

/// The most bytes of a name; PostgreSQL cuts longer ones off without an error.
pub(crate) const NAME_BYTES_MAX: usize = 63;

/// The most operations of one migration.
const OPERATIONS_MAX: usize = 1_000;

/// A value with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its bytes in the file.
    pub span: Span,
}

impl<T> std::ops::Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A text with its place in the file.
pub type Text = Placed<String>;

/// One migration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its name: the file's without its ending, unless it names itself.
    pub name: String,
    /// The end of its version schema's name, if that is not the migration's name.
    pub version_schema: Option<Text>,
    /// What it changes, in order; at least one.
    pub operations: Vec<Placed<Operation>>,
    /// The file's text.
    pub text: String,
}

impl Migration {
    /// The name of the schema that shows tables of `base` as this migration leaves them.
    #[must_use]
    pub fn version(&self, base: &str) -> String {
        let own = self.version_schema.as_ref().map(|text| text.as_str());
        format!("{base}_{}", own.unwrap_or(&self.name))
    }

    /// SHA-256 of the text in hexadecimal, the same whatever the line ends and the blanks
    /// before them are.
    #[must_use]
    pub fn checksum(&self) -> String {
        let lines = self.text.trim_start_matches('\u{feff}').trim_end().lines();
        let mut digest = Sha256::new();
        for line in lines {
            digest.update(line.trim_end().as_bytes());
            digest.update(b"\n");
        }
        let bytes = digest.finalize();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether a file of a directory of migrations is one, by its name.
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    matches!(ending, Some("yaml" | "yml" | "json" | "sql")) && !name.starts_with('.')
}

/// Reads a migration file; its ending says of what form it is: `.yaml`, `.yml`, `.json`, `.sql`.
///
/// # Errors
///
/// A [`Report`] of every mistake that the text has.
pub fn read(file_name: &str, text: &str) -> Result<Migration, Report> {
    let mut mistakes = Mistakes::new(text, "the migration");
    let (stem, ending) = file_name.rsplit_once('.').unwrap_or((file_name, ""));
    let stem = stem.rsplit_once('/').map_or(stem, |(_, name)| name);
    if text.len() > BYTES_MAX {
        let message = format!("the migration has {} bytes", text.len());
        mistakes.add(Mistake::new(0..0, message).expected(format!("at most {BYTES_MAX} bytes")));
        return Err(mistakes.report());
    }
    let migration = match ending {
        "yaml" | "yml" | "json" => operations_file(stem, text, &mut mistakes),
        "sql" => script::read(stem, text, &mut mistakes),
        other => {
            let message = format!("a file that ends in `.{other}` is no migration");
            mistakes
                .add(Mistake::new(0..0, message).expected("`.yaml`, `.yml`, `.json` or `.sql`"));
            None
        }
    };
    if let Some(migration) = &migration {
        check_name(migration, &mut mistakes);
    }
    match migration {
        Some(migration) if mistakes.is_empty() => Ok(migration),
        Some(_) | None => Err(mistakes.report()),
    }
}

/// The version schema's name must fit whatever the base schema is called; the plan checks the
/// whole.
fn check_name(migration: &Migration, mistakes: &mut Mistakes<'_>) {
    let (name, span) = match &migration.version_schema {
        Some(text) => (text.as_str(), text.span.clone()),
        None => (migration.name.as_str(), 0..0),
    };
    let fits = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    if name.is_empty() || !name.chars().all(fits) {
        let message = format!("`{name}` cannot be a version's name");
        mistakes.add(Mistake::new(span, message).expected("letters, digits, `_`, `-` and `.`"));
    } else if name.len() > NAME_BYTES_MAX - 2 {
        let message = format!("the version's name has {} bytes", name.len());
        let hint = "give a shorter `version_schema`";
        mistakes.add(
            Mistake::new(span, message)
                .expected("at most 61 bytes")
                .hint(hint),
        );
    }
}

fn operations_file(stem: &str, text: &str, mistakes: &mut Mistakes<'_>) -> Option<Migration> {
    let root = tree::parse(text, mistakes)?;
    let mut fields = Fields::of("the migration", &root, mistakes)?;
    let name = fields.text_if("name");
    let version_schema = fields.text_if("version_schema");
    let entries = fields.list("operations")?;
    let span = entries.span.clone();
    let mut operations = Vec::new();
    for entry in entries.value.iter().take(OPERATIONS_MAX) {
        operations.extend(Operation::read(entry, fields.mistakes()));
    }
    let mistakes = fields.finish();
    if entries.value.is_empty() {
        mistakes.add(Mistake::new(span, "the migration has no operation"));
    } else if entries.value.len() > OPERATIONS_MAX {
        let message = format!("the migration has {} operations", entries.value.len());
        let expected = format!("at most {OPERATIONS_MAX}");
        mistakes.add(Mistake::new(span, message).expected(expected));
    }
    Some(Migration {
        name: name.map_or_else(|| stem.to_owned(), |name| name.value),
        version_schema,
        operations,
        text: text.to_owned(),
    })
}
