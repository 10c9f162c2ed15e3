//! The columns of a table out of a file, in one of three forms.

use standpipe_convert::Column;

use super::super::reader::Cursor;
use super::super::tree::Node;
use super::{arrow, json_schema, parse};

/// Reads the columns of a file.
pub(super) fn columns(at: &mut Cursor<'_, '_>) -> Option<Vec<Column>> {
    let node = at.node;
    if let Some(table) = node.get("Table") {
        let columns = table.get("StorageDescriptor").and_then(|storage| storage.get("Columns"));
        return match columns {
            Some(columns) => each(&mut at.below(columns, "Table.StorageDescriptor.Columns"), glue),
            None => at.refuse("the table has no StorageDescriptor.Columns"),
        };
    }
    if let Some(fields) = node.get("fields") {
        return each(&mut at.below(fields, "fields"), arrow::column);
    }
    if ["properties", "$ref", "$schema"].iter().any(|key| node.get(key).is_some()) {
        return json_schema::columns(at);
    }
    at.refuse(
        "it has neither the \"fields\" of an Arrow schema, nor the \"properties\" of a JSON Schema, nor the \"Table\" of \
         Glue",
    )
}

/// Reads all items of a list, of which each tells what is wrong with it.
pub(super) fn each<T>(
    at: &mut Cursor<'_, '_>,
    read: impl Fn(&mut Cursor<'_, '_>) -> Option<T>,
) -> Option<Vec<T>> {
    let items: Vec<_> = at.node.items().iter().enumerate().collect();
    items
        .into_iter()
        .map(|(index, item)| read(&mut at.below(item, &format!("[{index}]"))))
        .collect::<Vec<_>>()
        .into_iter()
        .collect()
}

/// The text of a key.
pub(super) fn text<'n>(at: &mut Cursor<'_, '_>, node: &'n Node, key: &str) -> Option<&'n str> {
    match node.get(key).and_then(Node::scalar) {
        Some(text) => Some(text),
        None => at.refuse(format!("the key \"{key}\" is missing")),
    }
}

/// A column of a Glue table.
fn glue(at: &mut Cursor<'_, '_>) -> Option<Column> {
    let node = at.node;
    let (name, kind) = (text(at, node, "Name")?, text(at, node, "Type")?);
    Some(Column { name: name.to_owned(), kind: parse(at, kind)?, required: false, ids: Vec::new() })
}
