//! The `iceberg` section: a table that rows are added to.

use standpipe_convert::parquet::ParquetOptions;

use super::endpoints::{ERROR_OUTPUT_OF_TABLE, common_with};
use super::format::FormatDraft;
use super::format::parquet::COMPRESSION;
use super::reader::Section;
use super::shapes::text;
use super::streams::DestinationDraft;

/// Reads a table of Iceberg.
pub(super) fn iceberg(section: &mut Section<'_, '_>) -> Option<DestinationDraft> {
    let database = section.required(
        "database",
        text(1..=255),
        "The table's namespace in the catalog under `catalogs.iceberg`, with dots between its levels \
         (`DestinationDatabaseName`).",
    );
    let table = section.required("table", text(1..=255), "The table (`DestinationTableName`).");
    let compression =
        section.or("compression", COMPRESSION, "zstd", "How the pages of its files are compressed.");
    let common = common_with(section, &ERROR_OUTPUT_OF_TABLE);
    let options = ParquetOptions { compression, ..ParquetOptions::default() };
    let appended = FormatDraft::appended(database?, table?, options, section.spots());
    Some(DestinationDraft { appended: Some(appended), ..common.of_table()? })
}

#[cfg(test)]
mod tests {
    use standpipe_model::DestinationId;

    use super::super::tests::{bad, good};
    use crate::spec::{CatalogKind, OutputFormat, Patience};

    fn with_table(iceberg: &str, beside: &str) -> String {
        format!(
            "stores: {{lake: {{type: s3}}}}\ncatalogs: {{iceberg: {{uri: 'http://c'}}}}\nstreams:\n- name: a\n  destination:\n    iceberg: {iceberg}\n{beside}"
        )
    }

    #[test]
    fn a_table_comes_with_its_columns_from_the_catalog_and_the_store_of_its_error_output() {
        let iceberg =
            "{database: lake.up, table: flights, buffering: {interval: 5s}, error_output: {bucket: b}}";
        let deserializer = "  deserializer: {openx: {dots_to_underscores: true}}\n";
        let destination = good(&with_table(iceberg, deserializer)).streams.remove(0).destination;
        assert_eq!((destination.bucket.as_str(), destination.buffering.interval_ms), ("b", 5_000));
        assert_eq!(destination.buffering.size_bytes, 128 << 20);
        assert_eq!(destination.bears(), Some(Patience { retry_ms: 300_000, max_lag_ms: None }));
        let patient = iceberg.replace("database", "retry: 0s, max_lag: 6h, database");
        let patient = good(&with_table(&patient, "")).streams.remove(0).destination;
        assert_eq!(patient.bears(), Some(Patience { retry_ms: 0, max_lag_ms: Some(21_600_000) }));
        let conversion = destination.conversion.unwrap();
        assert_eq!(conversion.catalog(), Some(CatalogKind::Iceberg));
        assert_eq!(
            conversion.recorded_of(&DestinationId::primary()).as_deref(),
            Some("iceberg lake.up flights LATEST")
        );
        assert!(matches!(conversion.output, OutputFormat::Iceberg(_)) && conversion.appends());
    }

    #[test]
    fn what_a_table_cannot_have_is_refused_by_name() {
        let iceberg =
            "{database: lake, table: flights, error_output: {bucket: b, buffering: {interval: 1s}}}";
        bad(
            &with_table(iceberg, "  format: {orc: {schema: lake.flights}}\n"),
            &[
                "standpipe.yaml:6:84: streams[0].destination.iceberg.error_output.buffering: this is about objects of rows, and the error output has none: its lines are never compressed nor converted, and \"buffering\" stands beside \"error_output\"",
                "standpipe.yaml:7:11: streams[0].format: what is added to a table of Iceberg are files of Parquet",
            ],
        );
        let without = with_table("{database: l, table: t, error_output: {bucket: b}}", "");
        bad(
            &without.replace("catalogs: {iceberg: {uri: 'http://c'}}\n", ""),
            &[
                "standpipe.yaml:5:14: streams[0].destination.iceberg: there is no \"iceberg\" under \"catalogs\"",
            ],
        );
    }
}
