//! The `schemas` section: the columns of tables, written here or in a file.

mod arrow;
mod file;
mod json_schema;

use standpipe_convert::{Column, TableSchema, Type};

use super::compound::{Map, Named, Sub};
use super::problem::Problem;
use super::reader::{Cursor, Section, Shape};
use super::schema::Schema;
use super::shapes::FilePath;

/// Reads `schemas`.
pub(super) fn schemas(section: &mut Section<'_, '_>) -> Vec<Named<TableSchema>> {
    let schemas = section.optional(
        "schemas",
        Map(Sub(schema)),
        "The columns of tables that rows are converted to, by the name `database.table`, which also leads there from a \
         `SchemaConfiguration` of the API.",
    );
    schemas.unwrap_or_default()
}

fn schema(section: &mut Section<'_, '_>) -> Option<TableSchema> {
    let columns = section.optional(
        "columns",
        Map(ColumnType),
        "The columns in their order, each with its type, and `not null` where every row must have a value.",
    );
    let path = section.optional(
        "file",
        FilePath,
        "A file that has the columns: an Arrow schema in JSON, a JSON Schema, or what `aws glue get-table` prints.",
    );
    section.exclusive("columns", "file");
    let columns = match (columns, path) {
        (Some(columns), _) => columns
            .into_iter()
            .map(|(name, _, column)| Some(Column { name, ..column? }))
            .collect::<Option<Vec<_>>>()?,
        (None, Some(path)) => section.file(&path, file::columns)?,
        (None, None) => {
            if !section.given("columns") && !section.given("file") {
                section.refuse("", "give \"columns\", or a \"file\" that has them");
            }
            return None;
        }
    };
    match TableSchema::new(columns) {
        Ok(schema) => Some(schema),
        Err(error) => {
            section.refuse("", error);
            None
        }
    }
}

/// Tables are in databases.
pub(super) fn check_schemas(schemas: &[Named<TableSchema>], problems: &mut Vec<Problem>) {
    for (name, spot, _) in schemas {
        if let Err(message) = check_table_name(name) {
            problems.push(Problem { spot: spot.clone(), message });
        }
    }
}

/// Refuses what is no schema's name.
pub(crate) fn check_table_name(name: &str) -> Result<(), String> {
    let named = name.split_once('.').is_some_and(|(database, table)| {
        !database.is_empty() && !table.is_empty() && !name.contains(char::is_whitespace)
    });
    match named && name.len() <= 2_000 {
        true => Ok(()),
        false => Err(format!("\"{name}\" is no schema's name: database.table, without blanks")),
    }
}

/// The type of a column; the name is filled in where it is known.
struct ColumnType;

impl Shape for ColumnType {
    type Out = Column;

    fn read(&self, at: &mut Cursor<'_, '_>) -> Option<Column> {
        let text = at.text()?;
        Column::parse("", &text).map_or_else(|error| at.refuse(error), Some)
    }

    fn schema(&self) -> Schema {
        Schema::Text
    }
}

/// A type as it is written.
fn parse(at: &mut Cursor<'_, '_>, text: &str) -> Option<Type> {
    text.parse().map_or_else(|error| at.refuse(error), Some)
}

#[cfg(test)]
mod tests;
