//! Which table a format is for: one of the file, one of a catalog, or the one that rows come to.

use standpipe_convert::{COLUMNS_MAX, TableSchema};

use super::super::catalogs::Catalogs;
use super::super::check::known;
use super::super::columns::check_table_name;
use super::super::compound::{Either, Named, Sub};
use super::super::reader::{Cursor, ReadSection, Section, Shape};
use super::super::schema::Schema;
use super::super::shapes::{Choice, Int, text};
use crate::spec::{CatalogKind, CatalogTable, ColumnSource, LATEST};

/// Which table, as it was read.
#[derive(Debug, Clone)]
pub(super) enum SchemaDraft {
    /// A name under `schemas`, or in a catalog if there is one, or [`INFER`].
    Named(String),
    /// A table of a catalog.
    InCatalog { catalog: CatalogKind, database: String, table: String, version: String },
}

/// What names a table beside its own name.
pub(in super::super) struct Account<'a> {
    pub(in super::super) id: &'a str,
    pub(in super::super) region: &'a str,
    pub(in super::super) catalogs: &'a Catalogs,
}

impl Account<'_> {
    fn table(&self, database: &str, table: &str, version: &str) -> CatalogTable {
        CatalogTable {
            catalog_id: self.id.to_owned(),
            database: database.to_owned(),
            table: table.to_owned(),
            region: self.region.to_owned(),
            version_id: version.to_owned(),
            role_arn: None,
        }
    }
}

/// What stands for a schema that rows say themselves.
const INFER: &str = "infer";
/// The database that error output names for it; its table has the stream's name.
const INFERRED_DATABASE: &str = "inferred";
/// The most names of columns and members, unless the stream says otherwise.
const INFERRED_COLUMNS_MAX: u32 = 1_000;

/// The table, and how far one may grow that is inferred.
pub(super) fn table(section: &mut Section<'_, '_>) -> (Option<SchemaDraft>, Option<u32>) {
    let schema = section.required(
        "schema",
        Either(SchemaName, Sub(in_catalog as ReadSection<SchemaDraft>)),
        "The table's name under `schemas`, or in a catalog if it is not there; or `infer`: the rows say themselves what \
         their columns are.",
    );
    let columns_max = section.optional(
        "columns_max",
        Int(1..=COLUMNS_MAX as u64),
        "With `schema: infer`, the most columns, members of structs counted too; 1,000 where absent.",
    );
    (schema, columns_max.and_then(|max: u64| u32::try_from(max).ok()))
}

/// The name of a table.
struct SchemaName;

impl Shape for SchemaName {
    type Out = SchemaDraft;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<SchemaDraft> {
        text(3..=2_000).read(at).map(SchemaDraft::Named)
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

fn in_catalog(section: &mut Section<'_, '_>) -> Option<SchemaDraft> {
    const KINDS: Choice<CatalogKind> =
        Choice(&[("glue", CatalogKind::Glue), ("iceberg", CatalogKind::Iceberg)]);
    let catalog = section.required("catalog", KINDS, "The catalog, under `catalogs`.");
    let database = section.required(
        "database",
        text(1..=255),
        "The table's database there; Iceberg's namespace, with dots between its levels.",
    );
    let table = section.required("table", text(1..=255), "The table.");
    let version = section.or(
        "version",
        text(1..=255),
        LATEST,
        "The version (`schema-id` in Iceberg), `LATEST` to follow the table.",
    );
    Some(SchemaDraft::InCatalog { catalog: catalog?, database: database?, table: table?, version })
}

/// A table, its columns where they are known, and where they come from otherwise.
pub(super) type Found = (CatalogTable, TableSchema, Option<ColumnSource>);

impl SchemaDraft {
    /// The table that it leads to, for a stream of that name; `None` of one that is wrong itself, which has been told.
    ///
    /// # Errors
    /// The key that is wrong, and what is.
    pub(super) fn resolve(
        &self,
        columns_max: Option<u32>,
        stream: &str,
        schemas: &[Named<TableSchema>],
        account: &Account<'_>,
    ) -> Result<Option<Found>, (&'static str, String)> {
        let (database, table, version, schema, catalog) = match self {
            Self::Named(name) if name == INFER => {
                let source = ColumnSource::Infer(columns_max.unwrap_or(INFERRED_COLUMNS_MAX));
                let table = account.table(INFERRED_DATABASE, stream, LATEST);
                return Ok(Some((table, TableSchema::default(), Some(source))));
            }
            _ if columns_max.is_some() => {
                let message = "it limits what \"schema: infer\" comes to, and there is another";
                return Err(("columns_max", message.to_owned()));
            }
            Self::InCatalog { catalog, .. } if account.catalogs.refresh(*catalog).is_none() => {
                let message = format!("there is no \"{}\" under \"catalogs\"", catalog.name());
                return Err(("schema", message));
            }
            Self::InCatalog { catalog, database, table, version } => {
                (database.as_str(), table.as_str(), version.as_str(), None, Some(*catalog))
            }
            Self::Named(name) => {
                let (database, table) = name.split_once('.').unwrap_or((name, ""));
                match (known("schema", name, schemas), account.catalogs.default_kind()) {
                    (Ok(()), _) => {
                        let found = schemas.iter().find(|(known, ..)| known == name);
                        let Some((_, _, Some(schema))) = found else { return Ok(None) };
                        (database, table, LATEST, Some(schema.clone()), None)
                    }
                    (Err(_), Some(catalog)) if check_table_name(name).is_ok() => {
                        (database, table, LATEST, None, Some(catalog))
                    }
                    (Err(message), _) => return Err(("schema", message)),
                }
            }
        };
        let table = account.table(database, table, version);
        Ok(Some((table, schema.unwrap_or_default(), catalog.map(ColumnSource::Catalog))))
    }
}
