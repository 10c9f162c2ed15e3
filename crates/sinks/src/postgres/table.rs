//! The table as the server has it at this moment, and which of its columns are loaded.

use std::sync::Arc;

use standpipe_model::{ErrorClass, SinkError};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::error::{Failure, fault};
use super::names::{TableName, list, quoted};
use super::path::Path;
use super::text::Kind;

/// A column that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) path: Path,
    pub(super) kind: Kind,
}

/// A table, ready to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Its full name, as SQL takes it.
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
}

impl Table {
    /// The columns, as SQL takes them.
    pub(super) fn list(&self) -> String {
        list(self.columns.iter().map(|column| column.name.as_str()))
    }
}

/// Which columns are wanted, and where their values stand.
pub(super) type Wanted = Vec<(String, Path)>;

const DESCRIBE: &str = "
    SELECT format('%I.%I', n.nspname, c.relname), a.attname,
           CASE WHEN t.typcategory = 'A' AND e.typname IN ('json', 'jsonb') THEN 'json array'
                WHEN t.typcategory = 'A' THEN 'array'
                WHEN coalesce(b.typname, t.typname) IN ('json', 'jsonb') THEN 'json'
                ELSE 'plain' END,
           a.attgenerated <> '' OR a.attidentity <> ''
               OR coalesce(pg_get_expr(d.adbin, d.adrelid) LIKE 'nextval(%', false),
           has_column_privilege(c.oid, a.attnum, 'INSERT')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_type b ON b.oid = nullif(t.typbasetype, 0)
    LEFT JOIN pg_type e ON e.oid = coalesce(b.typelem, t.typelem)
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.oid = to_regclass($1)
    ORDER BY a.attnum";

/// A column as the server describes it.
struct Described {
    name: String,
    kind: Kind,
    filled: bool,
    writable: bool,
}

/// Looks the table up.
pub(super) async fn describe(
    client: &Client,
    table: &TableName,
    wanted: &Wanted,
) -> Result<Arc<Table>, Failure> {
    let asked = table.to_string();
    let rows = client.query_typed(DESCRIBE, &[(&asked, Type::TEXT)]).await?;
    let Some(first) = rows.first() else {
        let message = format!("there is no table {asked} in this database");
        return Err(fault(ErrorClass::Misconfigured, "42P01", message).into());
    };
    let name: String = first.try_get(0)?;
    let mut described = Vec::with_capacity(rows.len());
    for row in &rows {
        let kind = match row.try_get(2)? {
            "json array" => Kind::JsonArray,
            "array" => Kind::Array,
            "json" => Kind::Json,
            _ => Kind::Plain,
        };
        let (name, filled, writable) = (row.try_get(1)?, row.try_get(3)?, row.try_get(4)?);
        described.push(Described { name, kind, filled, writable });
    }
    let columns = choose(&name, &described, wanted)?;
    Ok(Arc::new(Table { name, columns }))
}

fn choose(table: &str, described: &[Described], wanted: &Wanted) -> Result<Vec<Column>, SinkError> {
    let all: Wanted;
    let wanted = if wanted.is_empty() {
        let own = described.iter().filter(|column| !column.filled);
        all = own.map(|column| (column.name.clone(), Path::member(&column.name))).collect();
        &all
    } else {
        wanted
    };
    let mut columns = Vec::with_capacity(wanted.len());
    for (name, path) in wanted {
        let Some(found) = described.iter().find(|column| column.name == *name) else {
            let known = list(described.iter().map(|column| column.name.as_str()));
            let message = format!("the table {table} has no column {}; it has {known}", quoted(name));
            return Err(fault(ErrorClass::Misconfigured, "42703", message));
        };
        if !found.writable {
            let message = format!("may not insert into the column {} of the table {table}", quoted(name));
            return Err(fault(ErrorClass::Misconfigured, "42501", message));
        }
        columns.push(Column { name: name.clone(), path: path.clone(), kind: found.kind });
    }
    match columns.is_empty() {
        true => {
            Err(fault(ErrorClass::Misconfigured, "42703", format!("the table {table} has no column to load")))
        }
        false => Ok(columns),
    }
}
