//! What a release needs of its database: read from the migrations that were sent with it.

use model::{Database, DatabaseName, Digest, ReleaseDatabase, SchemaVersion, ServiceName};

use super::Shell;
use crate::api::{Code, DeployRequest, Failure};
use crate::database::MigrationFile;

/// The most files of a database's migrations.
const FILES_MAX: usize = 10_000;

impl Shell {
    /// What the release of a service needs of the database that it names.
    pub(super) fn release_database(
        &self,
        request: &DeployRequest,
        service: &ServiceName,
    ) -> Result<Option<ReleaseDatabase>, Failure> {
        let project = &request.project;
        let Some(name) = project
            .services
            .get(service)
            .and_then(|service| service.template.database.clone())
        else {
            return Ok(None);
        };
        let invalid = |text: String| Failure::new(Code::Invalid, text);
        let database = project
            .databases
            .get(&name)
            .ok_or_else(|| invalid(format!("the file has no database `{name}`")))?;
        let migrations = request.migrations.get(&name).ok_or_else(|| {
            invalid(format!("the migrations of `{name}` were not sent"))
                .with_hint("send the directory with POST /v1/artifacts, and name its digest")
        })?;
        let files = self.migration_files(&name, migrations)?;
        Ok(Some(ReleaseDatabase {
            url: database.url.clone(),
            schema: database.schema.clone(),
            migrations: migrations.clone(),
            version: version(&name, database, &files)?,
            search_path: database.search_path,
            name,
        }))
    }

    /// The stored migrations, in the order of their names.
    pub(super) fn migration_files(
        &self,
        database: &DatabaseName,
        digest: &Digest,
    ) -> Result<Vec<MigrationFile>, Failure> {
        if !self.artifacts.has(digest) {
            let text = format!("the migrations of `{database}` are not stored");
            return Err(Failure::new(Code::NotFound, text)
                .with_hint("send them with POST /v1/artifacts first"));
        }
        let directory = self.artifacts.path(digest);
        let unreadable = |error: std::io::Error| {
            Failure::new(
                Code::Unavailable,
                format!("the migrations of `{database}` cannot be read"),
            )
            .with_cause(error.to_string())
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !migration::is_file_name(&name) {
                continue;
            }
            if files.len() == FILES_MAX {
                let text = format!("`{database}` has more than {FILES_MAX} migrations");
                return Err(Failure::new(Code::TooLarge, text));
            }
            let text = std::fs::read_to_string(entry.path()).map_err(unreadable)?;
            files.push(MigrationFile { name, text });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }
}

/// The version that the last migration makes; every one of them is checked.
fn version(
    name: &DatabaseName,
    database: &Database,
    files: &[MigrationFile],
) -> Result<Option<SchemaVersion>, Failure> {
    let mut last: Option<SchemaVersion> = None;
    for file in files {
        let read = migration::read(&file.name, &file.text).map_err(|report| {
            let text = format!("`{}` of database `{name}` is no migration", file.name);
            let shown = report.render(&file.name, &file.text);
            Failure::new(Code::Invalid, text).with_cause(shown.trim_end())
        })?;
        let version = SchemaVersion {
            schema: read.version(&database.schema),
            migration: read.name,
        };
        if let Some(before) = last.filter(|last| last.migration >= version.migration) {
            let text = format!(
                "migration `{}` of database `{name}` comes after `{before}`, and sorts before it",
                version.migration
            );
            return Err(Failure::new(Code::Invalid, text)
                .with_hint("name it so that migrations sort in the order in which they are made"));
        }
        last = Some(version);
    }
    Ok(last)
}
