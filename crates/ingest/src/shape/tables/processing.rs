//! What is done to records on the way: processors, format conversion, dynamic partitioning.

use super::*;

/// Why parts of a schema configuration have no effect.
const NAMED: &str =
    "the schema is that of the configuration file or its catalog; the error output names what was given";

structures! {
    ProcessingConfiguration: [
        optional("Enabled", BooleanObject),
        optional("Processors", ProcessorList),
    ],
    Processor: [
        required("Type", ProcessorType),
        optional("Parameters", ProcessorParameterList),
    ],
    ProcessorParameter: [
        required("ParameterName", ProcessorParameterName),
        required("ParameterValue", ProcessorParameterValue),
    ],
    DynamicPartitioningConfiguration: [
        optional("RetryOptions", RetryOptions).default(r#"{"DurationInSeconds":300}"#),
        optional("Enabled", BooleanObject),
    ],
    DataFormatConversionConfiguration: [
        optional("SchemaConfiguration", SchemaConfiguration),
        optional("InputFormatConfiguration", InputFormatConfiguration),
        optional("OutputFormatConfiguration", OutputFormatConfiguration),
        optional("Enabled", BooleanObject).default("true"),
    ],
    SchemaConfiguration: [
        optional("RoleARN", NonEmptyStringWithoutWhitespace).ignored(NAMED),
        optional("CatalogId", NonEmptyStringWithoutWhitespace).ignored(NAMED),
        optional("DatabaseName", NonEmptyStringWithoutWhitespace),
        optional("TableName", NonEmptyStringWithoutWhitespace),
        optional("Region", NonEmptyStringWithoutWhitespace).ignored(NAMED),
        optional("VersionId", NonEmptyStringWithoutWhitespace),
    ],
    InputFormatConfiguration: [
        optional("Deserializer", Deserializer),
    ],
    Deserializer: [
        optional("OpenXJsonSerDe", OpenXJsonSerDe).instead_of("HiveJsonSerDe"),
        optional("HiveJsonSerDe", HiveJsonSerDe).instead_of("OpenXJsonSerDe"),
    ],
    OpenXJsonSerDe: [
        optional("ConvertDotsInJsonKeysToUnderscores", BooleanObject),
        optional("CaseInsensitive", BooleanObject),
        optional("ColumnToJsonKeyMappings", ColumnToJsonKeyMappings),
    ],
    HiveJsonSerDe: [
        optional("TimestampFormats", ListOfNonEmptyStrings),
    ],
    OutputFormatConfiguration: [
        optional("Serializer", Serializer),
    ],
    Serializer: [
        optional("ParquetSerDe", ParquetSerDe).instead_of("OrcSerDe"),
        optional("OrcSerDe", OrcSerDe).instead_of("ParquetSerDe"),
    ],
    ParquetSerDe: [
        optional("BlockSizeBytes", BlockSizeBytes),
        optional("PageSizeBytes", ParquetPageSizeBytes),
        optional("Compression", ParquetCompression),
        optional("EnableDictionaryCompression", BooleanObject),
        optional("MaxPaddingBytes", NonNegativeIntegerObject).ignored("object stores have no blocks that row groups could cross"),
        optional("WriterVersion", ParquetWriterVersion),
    ],
    OrcSerDe: [
        optional("StripeSizeBytes", OrcStripeSizeBytes),
        optional("BlockSizeBytes", BlockSizeBytes),
        optional("RowIndexStride", OrcRowIndexStride),
        optional("EnablePadding", BooleanObject),
        optional("PaddingTolerance", Proportion),
        optional("Compression", OrcCompression),
        optional("BloomFilterColumns", ListOfNonEmptyStringsWithoutWhitespace),
        optional("BloomFilterFalsePositiveProbability", Proportion),
        optional("DictionaryKeyThreshold", Proportion),
        optional("FormatVersion", OrcFormatVersion),
    ],
}
