//! The daemon behind the front end: puts go to their stream's journal, the control plane changes the catalog.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use standpipe_ingest::access::{AuditEvent, CallLimiter, PutLimiter};
use standpipe_ingest::{
    ApiError, CreateDeliveryStream, Credential, DeleteDeliveryStream, DescribeDeliveryStream,
    DestinationKind, ErrorCode, ListDeliveryStreams, Put, PutError, PutReceipt, Service, StreamNames,
    UpdateDestination,
};
use standpipe_model::{DestinationId, StreamName, Timestamp};

use super::{Daemon, mapping};
use crate::alarm::{Alarm, AlarmKind};
use crate::catalog::{Away, Definition, Origin};
use crate::stream::Stream;
use crate::worker::chain;

impl Daemon {
    fn known(&self, name: &StreamName) -> Result<Arc<Stream>, ApiError> {
        self.stream(name).ok_or_else(|| ApiError::stream_not_found(name.as_str(), &self.config().account_id))
    }

    fn arn(&self, name: &StreamName) -> String {
        let config = self.config();
        format!("arn:aws:firehose:{}:{}:deliverystream/{name}", config.region, config.account_id)
    }

    fn internal(error: &dyn std::error::Error) -> ApiError {
        tracing::error!(error = %chain(error), "a control plane call failed");
        ApiError::internal()
    }

    fn yaml_is_read_only(stream: &Stream, what: &str) -> Result<(), ApiError> {
        match stream.definition().origin {
            Origin::Api => Ok(()),
            Origin::Yaml => Err(ApiError::invalid_argument(format!(
                "Firehose {} is defined in standpipe's configuration file and cannot be {what} through the API.",
                stream.name()
            ))),
        }
    }

    fn description(&self, stream: &Stream, from: Option<&str>) -> Value {
        let (definition, config) = (stream.definition(), self.config());
        let (extended, plain) = mapping::describe(&definition, &config);
        let id = DestinationId::primary();
        let mut destination = Map::from_iter([
            ("DestinationId".to_owned(), Value::from(id.as_str())),
            ("S3DestinationDescription".to_owned(), plain),
        ]);
        destination.insert("ExtendedS3DestinationDescription".to_owned(), extended);
        let destinations =
            if from.is_some_and(|from| from >= id.as_str()) { vec![] } else { vec![destination] };
        let mut description = json!({
            "DeliveryStreamName": stream.name().as_str(),
            "DeliveryStreamARN": self.arn(stream.name()),
            "DeliveryStreamStatus": if stream.is_retired() { "DELETING" } else { "ACTIVE" },
            "DeliveryStreamEncryptionConfiguration": {"Status": "DISABLED"},
            "DeliveryStreamType": "DirectPut",
            "VersionId": definition.version.to_string(),
            "CreateTimestamp": seconds(definition.created_at),
            "Destinations": destinations,
            "HasMoreDestinations": false,
        });
        if let Some(updated_at) = definition.updated_at {
            description["LastUpdateTimestamp"] = seconds(updated_at);
        }
        if let Some(hint) = definition.throughput_hint_in_mbs {
            description["Source"] = json!({"DirectPutSourceDescription": {"ThroughputHintInMBs": hint}});
        }
        // Not a member of the API: SDKs pass it over, `standpipe streams describe` shows it.
        let alarms = self.context.alarms.raised(Some(stream.name()));
        if !alarms.is_empty() {
            let line = |alarm: &Alarm| format!("{}: {}", alarm.kind.as_str(), alarm.message);
            description["StandpipeAlarms"] = alarms.iter().map(line).collect();
        }
        description
    }
}

fn seconds(at: Timestamp) -> Value {
    json!(at.as_millis() as f64 / 1000.0)
}

/// The daemon as the front end calls it.
pub(super) struct Api(pub(super) Arc<Daemon>);

impl Api {
    /// Makes a change on a task of its own: a client that hangs up must not leave it half made.
    async fn change<R, F>(&self, change: impl FnOnce(Arc<Daemon>) -> F) -> Result<R, ApiError>
    where
        R: Send + 'static,
        F: Future<Output = Result<R, ApiError>> + Send + 'static,
    {
        let made = tokio::spawn(change(Arc::clone(&self.0))).await;
        made.unwrap_or_else(|error| Err(Daemon::internal(&error)))
    }
}

#[async_trait]
impl Service for Api {
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.0.access.credential(access_key_id)
    }

    fn auth_required(&self) -> bool {
        self.0.access.required()
    }

    fn stream_limiter(&self, stream: &StreamName) -> Option<Arc<PutLimiter>> {
        self.0.access.stream(stream, || self.0.stream(stream).is_some())
    }

    fn call_limiter(&self) -> Option<Arc<CallLimiter>> {
        self.0.access.calls()
    }

    async fn auditable(&self) -> bool {
        self.0.auditable().await
    }

    async fn audit(&self, event: AuditEvent) {
        self.0.audit(event).await;
    }

    async fn put(&self, put: Put) -> Result<PutReceipt, PutError> {
        match self.0.stream(&put.stream) {
            Some(stream) => stream.put(put).await,
            // It is there, but not at work: producers must keep their records and come again.
            None if self.0.context.alarms.is_raised(&put.stream, AlarmKind::NotOpened) => {
                Err(PutError::Unavailable { retry_after: None })
            }
            None => Err(PutError::NotFound),
        }
    }

    async fn create_delivery_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError> {
        self.change(|daemon| async move { daemon.create_stream(input).await }).await
    }

    async fn describe_delivery_stream(&self, input: DescribeDeliveryStream) -> Result<Value, ApiError> {
        let stream = self.0.known(&input.stream)?;
        Ok(self.0.description(&stream, input.exclusive_start_destination_id.as_deref()))
    }

    async fn list_delivery_streams(&self, input: ListDeliveryStreams) -> Result<StreamNames, ApiError> {
        let wanted = input.stream_type.as_deref().is_none_or(|kind| kind == "DirectPut");
        let after = input.exclusive_start.unwrap_or_default();
        let streams = self.0.streams();
        let names = streams.iter().map(|stream| stream.name().clone());
        let mut names: Vec<StreamName> =
            names.filter(|name| wanted && name.as_str() > after.as_str()).collect();
        let has_more = names.len() > input.limit;
        names.truncate(input.limit);
        Ok(StreamNames { names, has_more })
    }

    async fn delete_delivery_stream(&self, input: DeleteDeliveryStream) -> Result<(), ApiError> {
        self.change(|daemon| async move { daemon.delete_stream(input).await }).await
    }

    async fn update_destination(&self, input: UpdateDestination) -> Result<(), ApiError> {
        self.change(|daemon| async move { daemon.update_stream(input).await }).await
    }
}

impl Daemon {
    async fn create_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError> {
        let config = self.config();
        let configuration = input.destination.configuration;
        let spec = mapping::to_spec(&input.stream, &configuration, &config)?;
        let _changing = self.changing.lock().await;
        let taken = self.catalog.load(&input.stream).map_err(|error| Self::internal(&error))?;
        if !taken.is_empty() || self.stream(&input.stream).is_some() {
            return Err(ApiError::stream_exists(input.stream.as_str(), &config.account_id));
        }
        let definition = Definition {
            throughput_hint_in_mbs: input.throughput_hint_in_mbs,
            configuration: Some(configuration),
            ..Definition::first(Origin::Api, spec, self.context.timer.now())
        };
        self.create(definition).await.map_err(|error| Self::internal(&error))?;
        tracing::info!(stream = %input.stream, "stream created through the API");
        Ok(self.arn(&input.stream))
    }

    async fn delete_stream(&self, input: DeleteDeliveryStream) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        let stream = self.known(&input.stream)?;
        Self::yaml_is_read_only(&stream, "deleted")?;
        let discarded = stream.journal().with_state(|state| {
            state
                .destinations
                .values()
                .map(|progress| progress.in_journal(state.next))
                .max()
                .unwrap_or_default()
        });
        self.put_away(&stream, Away::Trash).await.map_err(|error| Self::internal(&error))?;
        tracing::info!(stream = %input.stream, discarded, "stream deleted through the API");
        Ok(())
    }

    async fn update_stream(&self, input: UpdateDestination) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        let stream = self.known(&input.stream)?;
        Self::yaml_is_read_only(&stream, "updated")?;
        let current = stream.definition();
        if input.current_version_id != current.version.to_string() {
            let (name, version) = (input.stream.as_str(), current.version.to_string());
            return Err(ApiError::version_mismatch(name, &version, &input.current_version_id));
        }
        if input.destination_id != DestinationId::primary().as_str() {
            let message = format!("Destination Id {} not found", input.destination_id);
            return Err(ApiError::invalid_argument(message));
        }
        let mut configuration = current.configuration.clone().unwrap_or_default();
        refuse_backup_off(&configuration, &input.update.configuration)?;
        mapping::merge(&mut configuration, input.update.configuration);
        debug_assert!(matches!(input.update.kind, DestinationKind::S3 | DestinationKind::ExtendedS3));
        let spec = mapping::to_spec(&input.stream, &configuration, &self.config())?;
        let next =
            Definition { configuration: Some(configuration), ..current.next(spec, self.context.timer.now()) };
        self.redefine(&stream, next).await.map_err(|error| Self::internal(&error))
    }
}

/// A backup that is on stays on, as AWS has it.
fn refuse_backup_off(current: &Map<String, Value>, update: &Map<String, Value>) -> Result<(), ApiError> {
    let mode =
        |members: &Map<String, Value>| members.get("S3BackupMode").and_then(Value::as_str).map(str::to_owned);
    if mode(current).as_deref() == Some("Enabled") && mode(update).as_deref() == Some("Disabled") {
        return Err(ApiError::new(
            ErrorCode::InvalidArgument,
            "S3BackupMode cannot be changed from Enabled to Disabled.",
        ));
    }
    Ok(())
}
