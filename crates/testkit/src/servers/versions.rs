//! The one place that says which version of each server is used.

use super::go::GoProgram;

/// The lightest real S3 server to install and start. It ignores encryption headers.
pub(crate) const VERSITYGW: GoProgram = GoProgram {
    name: "versitygw",
    package: "github.com/versity/versitygw/cmd/versitygw",
    version: "v1.8.0",
    built_as: "versitygw",
    tags: "",
};

/// The most faithful S3 server: encryption with keys, object lock, TLS. The version is that of the last commit, as its
/// release tags are not module versions.
pub(crate) const MINIO: GoProgram = GoProgram {
    name: "minio",
    package: "github.com/minio/minio",
    version: "v0.0.0-20260212201848-7aac2a2c5b7c",
    built_as: "minio",
    tags: "",
};

/// The KMS server that keeps to the states of keys. It has no tagged module versions of late: the version is a commit.
pub(crate) const LOCAL_KMS: GoProgram = GoProgram {
    name: "local-kms",
    package: "github.com/nsmithuk/local-kms",
    version: "v0.0.0-20260228092603-2a5e92d09ab6",
    built_as: "local-kms",
    tags: "",
};

/// The proxy that breaks connections on request.
pub(crate) const TOXIPROXY: GoProgram = GoProgram {
    name: "toxiproxy",
    package: "github.com/Shopify/toxiproxy/v2/cmd/server",
    version: "v2.5.0",
    built_as: "server",
    tags: "",
};

/// The receiver of Firehose's delivery protocol, of which only that is built.
pub(crate) const TELEGRAF: GoProgram = GoProgram {
    name: "telegraf",
    package: "github.com/influxdata/telegraf/cmd/telegraf",
    version: "v1.37.2",
    built_as: "telegraf",
    tags: "custom,inputs.firehose,outputs.file,parsers.json_v2,serializers.json",
};
