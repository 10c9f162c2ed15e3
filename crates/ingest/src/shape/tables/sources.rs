//! Where a stream's records come from when they are not put.

use super::*;

structures! {
    AuthenticationConfiguration: [
        required("RoleARN", RoleARN),
        required("Connectivity", Connectivity),
    ],
    DatabaseColumnList: [
        optional("Include", DatabaseColumnIncludeOrExcludeList),
        optional("Exclude", DatabaseColumnIncludeOrExcludeList),
    ],
    DatabaseList: [
        optional("Include", DatabaseIncludeOrExcludeList),
        optional("Exclude", DatabaseIncludeOrExcludeList),
    ],
    DatabaseSnapshotInfo: [
        required("Id", NonEmptyStringWithoutWhitespace),
        required("Table", DatabaseTableName),
        required("RequestTimestamp", Timestamp),
        required("RequestedBy", SnapshotRequestedBy),
        required("Status", SnapshotStatus),
        optional("FailureDescription", FailureDescription),
    ],
    DatabaseSourceAuthenticationConfiguration: [
        required("SecretsManagerConfiguration", SecretsManagerConfiguration),
    ],
    DatabaseSourceConfiguration: [
        required("Type", DatabaseType),
        required("Endpoint", DatabaseEndpoint),
        required("Port", DatabasePort),
        optional("SSLMode", SSLMode),
        required("Databases", DatabaseList),
        required("Tables", DatabaseTableList),
        optional("Columns", DatabaseColumnList),
        optional("SurrogateKeys", DatabaseSurrogateKeyList),
        required("SnapshotWatermarkTable", DatabaseTableName),
        required("DatabaseSourceAuthenticationConfiguration", DatabaseSourceAuthenticationConfiguration),
        required("DatabaseSourceVPCConfiguration", DatabaseSourceVPCConfiguration),
    ],
    DatabaseSourceDescription: [
        optional("Type", DatabaseType),
        optional("Endpoint", DatabaseEndpoint),
        optional("Port", DatabasePort),
        optional("SSLMode", SSLMode),
        optional("Databases", DatabaseList),
        optional("Tables", DatabaseTableList),
        optional("Columns", DatabaseColumnList),
        optional("SurrogateKeys", DatabaseColumnIncludeOrExcludeList),
        optional("SnapshotWatermarkTable", DatabaseTableName),
        optional("SnapshotInfo", DatabaseSnapshotInfoList),
        optional("DatabaseSourceAuthenticationConfiguration", DatabaseSourceAuthenticationConfiguration),
        optional("DatabaseSourceVPCConfiguration", DatabaseSourceVPCConfiguration),
    ],
    DatabaseSourceVPCConfiguration: [
        required("VpcEndpointServiceName", VpcEndpointServiceName),
    ],
    DatabaseTableList: [
        optional("Include", DatabaseTableIncludeOrExcludeList),
        optional("Exclude", DatabaseTableIncludeOrExcludeList),
    ],
    DirectPutSourceConfiguration: [
        required("ThroughputHintInMBs", ThroughputHintInMBs),
    ],
    DirectPutSourceDescription: [
        optional("ThroughputHintInMBs", ThroughputHintInMBs),
    ],
    KinesisStreamSourceConfiguration: [
        required("KinesisStreamARN", KinesisStreamARN),
        required("RoleARN", RoleARN),
    ],
    KinesisStreamSourceDescription: [
        optional("KinesisStreamARN", KinesisStreamARN),
        optional("RoleARN", RoleARN),
        optional("DeliveryStartTimestamp", DeliveryStartTimestamp),
    ],
    MSKSourceConfiguration: [
        required("MSKClusterARN", MSKClusterARN),
        required("TopicName", TopicName),
        required("AuthenticationConfiguration", AuthenticationConfiguration),
        optional("ReadFromTimestamp", ReadFromTimestamp),
    ],
    MSKSourceDescription: [
        optional("MSKClusterARN", MSKClusterARN),
        optional("TopicName", TopicName),
        optional("AuthenticationConfiguration", AuthenticationConfiguration),
        optional("DeliveryStartTimestamp", DeliveryStartTimestamp),
        optional("ReadFromTimestamp", ReadFromTimestamp),
    ],
}
