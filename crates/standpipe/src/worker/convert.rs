//! The conversion that a batch's rows go through last: JSON to columns, each row or its record set aside by itself; and
//! back to lines of JSON, where that is what is asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use standpipe_convert::{ArrowError, FileFormat, JsonLines, RecordBatch, RowError, RowPlan, RowReader};
use standpipe_transform::{Failure, FailureKind, Row, Transformed};

use crate::spec::{CatalogTable, Conversion, FormatError};

/// A conversion, made for the batches of a version.
#[derive(Debug)]
pub(super) struct Converter {
    pub(super) rows: Arc<RowPlan>,
    /// The files that columns are written to; none where rows become lines of JSON.
    pub(super) format: Option<Arc<FileFormat>>,
    /// What lines of the error output say of the table.
    pub(super) table: CatalogTable,
    /// The most records that are converted in one piece.
    pub(super) records_max: usize,
    /// No row has shown a column yet.
    is_without_columns: bool,
}

/// About so many bytes of columns may come of what the records of a piece do not say.
const PIECE_BYTES: usize = 8 << 20;
/// The most bytes that the lines of one record come to: what it may take in columns for what it does not say.
const LINES_BYTES_MAX: usize = 16 << 20;

impl Converter {
    /// The conversion that a destination asks for.
    ///
    /// # Errors
    /// [`FormatError`].
    pub(super) fn new(conversion: &Conversion) -> Result<Self, FormatError> {
        let format = conversion.format()?.map(Arc::new);
        let rows = Arc::new(RowPlan::new(&conversion.schema, &conversion.deserializer));
        let records_max = (PIECE_BYTES / rows.row_bytes().max(1)).max(1);
        let is_without_columns = conversion.schema.columns().is_empty();
        Ok(Self { rows, format, table: conversion.table.clone(), records_max, is_without_columns })
    }

    /// Converts the rows of a chunk to columns. A record of which one does not fit fails as a whole, and its rows are taken
    /// out. Without a format the data of the others are their lines afterwards.
    ///
    /// # Errors
    /// The columns do not fit together, which would be a fault of the conversion.
    pub(super) fn run(&self, transformed: &mut Transformed) -> Result<RecordBatch, ArrowError> {
        let mut reader = self.rows.reader();
        // A row may hold several documents.
        let mut ends = Vec::with_capacity(transformed.rows.len());
        let mut failures: BTreeMap<u32, Failure> = BTreeMap::new();
        for rows in transformed.rows.chunk_by(|a, b| a.origin.record == b.origin.record) {
            let before = (reader.rows(), ends.len());
            let pushed = push(&mut reader, rows, &mut ends);
            if let Err(failure) = pushed.and_then(|()| self.check_columns()) {
                reader.truncate(before.0);
                ends.truncate(before.1);
                failures.insert(rows[0].origin.record, failure);
            }
        }
        take_out(transformed, failures);
        let columns = reader.finish()?;
        if self.format.is_none() {
            let failures = put_lines(transformed, &JsonLines::of(&columns)?, &ends);
            take_out(transformed, failures);
        }
        Ok(columns)
    }

    /// A row that says nothing is one all the same, once there are columns.
    fn check_columns(&self) -> Result<(), Failure> {
        if !self.is_without_columns {
            return Ok(());
        }
        let (code, message) = ("DataFormatConversion.MalformedData", "No record has shown a column yet.");
        Err(Failure::once(FailureKind::Conversion, code, message))
    }
}

/// Records fail, with all their rows.
fn take_out(transformed: &mut Transformed, failures: BTreeMap<u32, Failure>) {
    if !failures.is_empty() {
        transformed.rows.retain(|row| !failures.contains_key(&row.origin.record));
        transformed.failures.extend(failures);
    }
}

/// Puts their lines in the place of rows, each of which ends where `ends` says; the records whose lines are too long.
fn put_lines(transformed: &mut Transformed, lines: &JsonLines<'_>, ends: &[usize]) -> BTreeMap<u32, Failure> {
    let mut failures = BTreeMap::new();
    let mut documents = ends.iter().scan(0, |start, end| Some(std::mem::replace(start, *end)..*end));
    for rows in transformed.rows.chunk_by_mut(|a, b| a.origin.record == b.origin.record) {
        let mut left = LINES_BYTES_MAX;
        for row in rows {
            let mut text = Vec::with_capacity(row.data.len());
            let mut documents = documents.next().unwrap_or_default();
            match documents.try_for_each(|document| lines.put(document, &mut text, left)) {
                Ok(()) => left -= text.len(),
                Err(error) => drop(failures.insert(row.origin.record, failure(&error))),
            }
            row.data = text.into();
        }
    }
    failures
}

fn failure(error: &RowError) -> Failure {
    Failure::once(FailureKind::Conversion, error.code(), error.to_string())
}

/// Adds the rows of a record, and where each ends.
fn push(reader: &mut RowReader, rows: &[Row], ends: &mut Vec<usize>) -> Result<(), Failure> {
    for row in rows {
        reader.push(&row.data).map_err(|error| failure(&error))?;
        ends.push(reader.rows());
    }
    Ok(())
}
