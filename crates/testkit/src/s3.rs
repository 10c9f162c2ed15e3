//! Looking into a store with the AWS SDK: buckets, keys, objects and unfinished uploads.

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;

use crate::servers::S3Access;

/// A store as its owner sees it.
#[derive(Debug, Clone)]
pub struct S3 {
    client: Client,
}

impl S3 {
    /// The store behind `access`. Only plain HTTP: a test that needs TLS checks what it delivered through the same
    /// server's files or another client.
    ///
    /// # Errors
    /// When the endpoint is https.
    pub fn open(access: &S3Access) -> Result<Self> {
        ensure!(access.ca_file.is_none(), "the store at {} speaks TLS", access.endpoint);
        let credentials = Credentials::new(
            &access.access_key_id,
            &access.secret_access_key,
            None,
            None,
            "standpipe-testkit",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&access.endpoint)
            .region(Region::new(S3Access::REGION))
            .credentials_provider(credentials)
            .force_path_style(true)
            .retry_config(RetryConfig::standard())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Ok(Self { client: Client::from_conf(config) })
    }

    /// The SDK's client, for what is not here.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn create_bucket(&self, bucket: &str) -> Result<()> {
        self.client.create_bucket().bucket(bucket).send().await.map(drop).map_err(explain)
    }

    /// Every key in a bucket, sorted.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn keys(&self, bucket: &str) -> Result<Vec<String>> {
        let mut pages = self.client.list_objects_v2().bucket(bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(explain)?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// When there is none or the store refuses.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Vec<u8>> {
        let answer = self.client.get_object().bucket(bucket).key(key).send().await.map_err(explain)?;
        Ok(answer.body.collect().await.with_context(|| format!("read {key}"))?.to_vec())
    }

    /// The keys of multipart uploads that were neither completed nor aborted, sorted.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn unfinished_uploads(&self, bucket: &str) -> Result<Vec<String>> {
        let answer = self.client.list_multipart_uploads().bucket(bucket).send().await.map_err(explain)?;
        let mut keys: Vec<_> =
            answer.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect();
        keys.sort_unstable();
        Ok(keys)
    }
}

/// The SDK's errors say nothing in their own text; all is in their sources.
fn explain(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::anyhow!("{}", DisplayErrorContext(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::Versitygw;

    #[tokio::test]
    async fn a_store_shows_its_objects_and_unfinished_uploads() {
        let store = Versitygw::start().unwrap();
        let s3 = S3::open(store.access()).unwrap();
        s3.create_bucket("lake").await.unwrap();
        for key in ["b/2", "a/1"] {
            let body = key.as_bytes().to_vec().into();
            s3.client().put_object().bucket("lake").key(key).body(body).send().await.unwrap();
        }
        s3.client().create_multipart_upload().bucket("lake").key("half").send().await.unwrap();
        assert_eq!(s3.keys("lake").await.unwrap(), ["a/1", "b/2"]);
        assert_eq!(s3.get("lake", "b/2").await.unwrap(), b"b/2");
        assert_eq!(s3.unfinished_uploads("lake").await.unwrap(), ["half"]);
        let error = s3.get("lake", "none").await.unwrap_err().to_string();
        assert!(error.contains("NoSuchKey"), "{error}");
    }
}
