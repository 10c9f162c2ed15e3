//! The daemon behind the front end: puts go to their stream's journal, the control plane changes the catalog.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use serde_json::{Map, Value, json};
use standpipe_ingest::access::{AuditEvent, CallLimiter, PutLimiter};
use standpipe_ingest::{
    ApiError, CreateDeliveryStream, Credential, DeleteDeliveryStream, DescribeDeliveryStream, Destination,
    EncryptionInput, ErrorCode, ListDeliveryStreams, ListTags, Proof, Put, PutError, PutReceipt, Service,
    StreamNames, TAGS_MAX, TagList, Tags, UpdateDestination,
};
use standpipe_model::{DestinationId, StreamName, Timestamp, stream_arn};

use super::{Daemon, mapping};
use crate::alarm::{Alarm, AlarmKind};
use crate::catalog::{Definition, Origin};
use crate::stream::{Status, Stream, key_refusal};
use crate::worker::{Intake, chain};

impl Daemon {
    pub(super) fn known(&self, name: &StreamName) -> Result<Arc<Stream>, ApiError> {
        self.stream(name).ok_or_else(|| ApiError::stream_not_found(name.as_str(), &self.config().account_id))
    }

    fn arn(&self, name: &StreamName) -> String {
        let config = self.config();
        stream_arn(&config.region, &config.account_id, name.as_str())
    }

    pub(super) fn internal(error: &dyn std::error::Error) -> ApiError {
        tracing::error!(error = %chain(error), "a control plane call failed");
        ApiError::internal()
    }

    pub(super) fn yaml_is_read_only(stream: &Stream, what: &str) -> Result<(), ApiError> {
        match stream.definition().origin {
            Origin::Api => Ok(()),
            Origin::Yaml => Err(ApiError::invalid_argument(format!(
                "Firehose {} is defined in standpipe's configuration file and cannot be {what} through the API.",
                stream.name()
            ))),
        }
    }

    fn description(&self, stream: &Stream, from: Option<&str>, limit: usize) -> Value {
        let (definition, config) = (stream.definition(), self.config());
        let first = (&definition.spec.id, mapping::destination(&definition, &config));
        let all = std::iter::once(first).chain(mapping::further(&definition.spec, &config));
        let all = all.map(|(id, destination)| {
            let mut described = destination.describe();
            described.insert("DestinationId".to_owned(), id.as_str().into());
            (id.as_str(), described)
        });
        // In the order of their ids, as what comes behind an id is asked for.
        let all: BTreeMap<&str, Map<String, Value>> = all.collect();
        let mut asked =
            all.into_iter().filter(|(id, _)| from.is_none_or(|from| *id > from)).map(|(_, of)| of);
        let destinations: Vec<_> = asked.by_ref().take(limit).collect();
        let has_more = asked.next().is_some();
        let mut description = json!({
            "DeliveryStreamName": stream.name().as_str(),
            "DeliveryStreamARN": self.arn(stream.name()),
            "DeliveryStreamStatus": stream.status().as_str(),
            "DeliveryStreamEncryptionConfiguration": stream.encryption().describe(),
            "DeliveryStreamType": "DirectPut",
            "VersionId": definition.version.to_string(),
            "CreateTimestamp": seconds(definition.created_at),
            "Destinations": destinations,
            "HasMoreDestinations": has_more,
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
impl Intake for Daemon {
    async fn put(&self, put: Put) -> Result<PutReceipt, PutError> {
        match self.stream(&put.stream) {
            Some(stream) => stream.put(put).await,
            None if let Some(trouble) = self.locked().get(&put.stream) => {
                Err(key_refusal(&put.stream, trouble))
            }
            // It is there, but not at work: producers must keep their records and come again.
            None if self.context.alarms.is_raised(&put.stream, AlarmKind::NotOpened) => {
                Err(PutError::Unavailable { retry_after: None })
            }
            None => Err(PutError::NotFound),
        }
    }
}

impl Daemon {
    /// Lets in what is replayed from one stream into another.
    pub(super) fn take_in(self: &Arc<Self>) {
        let daemon: Weak<Self> = Arc::downgrade(self);
        // It is told once.
        drop(self.context.intake.set(daemon));
    }
}

#[async_trait]
impl Service for Api {
    fn credential(&self, access_key_id: &str) -> Option<Arc<Credential>> {
        self.0.access.credential(access_key_id)
    }

    fn proof(&self) -> Proof {
        self.0.access.proof()
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
        self.0.put(put).await
    }

    async fn create_delivery_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError> {
        self.change(|daemon| async move { daemon.create_stream(input).await }).await
    }

    async fn describe_delivery_stream(&self, input: DescribeDeliveryStream) -> Result<Value, ApiError> {
        let stream = self.0.known(&input.stream)?;
        let DescribeDeliveryStream { exclusive_start_destination_id: from, limit, .. } = input;
        Ok(self.0.description(&stream, from.as_deref(), limit))
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

    async fn tag_delivery_stream(&self, stream: StreamName, tags: Tags) -> Result<(), ApiError> {
        self.change(|daemon| async move { daemon.change_tags(&stream, |all| all.extend(tags)).await }).await
    }

    async fn untag_delivery_stream(&self, stream: StreamName, keys: Vec<String>) -> Result<(), ApiError> {
        let remove = move |all: &mut Tags| all.retain(|key, _| !keys.contains(key));
        self.change(|daemon| async move { daemon.change_tags(&stream, remove).await }).await
    }

    async fn list_tags_for_delivery_stream(&self, input: ListTags) -> Result<TagList, ApiError> {
        let stream = self.0.known(&input.stream)?;
        let mut tags = self.0.catalog.tags(stream.name()).map_err(|error| Daemon::internal(&error))?;
        if let Some(after) = input.exclusive_start {
            tags.retain(|key, _| *key > after);
        }
        let has_more = tags.len() > input.limit;
        Ok(TagList { tags: tags.into_iter().take(input.limit).collect(), has_more })
    }

    async fn start_delivery_stream_encryption(
        &self,
        stream: StreamName,
        input: EncryptionInput,
    ) -> Result<(), ApiError> {
        self.change(|daemon| async move { daemon.change_encryption(&stream, Some(input)).await }).await
    }

    async fn stop_delivery_stream_encryption(&self, stream: StreamName) -> Result<(), ApiError> {
        self.change(|daemon| async move { daemon.change_encryption(&stream, None).await }).await
    }
}

impl Daemon {
    async fn create_stream(&self, input: CreateDeliveryStream) -> Result<String, ApiError> {
        let config = self.config();
        let Destination { kind, configuration } = input.destination;
        self.check_table(&mapping::to_spec(&input.stream, kind, &configuration, &config)?).await?;
        let encryption = match &input.encryption {
            Some(wanted) => Some(self.first_encryption(&input.stream, wanted).await?),
            None => None,
        };
        let _changing = self.changing.lock().await;
        let taken = self.catalog.load(&input.stream).map_err(|error| Self::internal(&error))?;
        if !taken.is_empty() || self.stream(&input.stream).is_some() {
            return Err(ApiError::stream_exists(input.stream.as_str(), &config.account_id));
        }
        // Once more: what names lead to may have changed while a key was asked for.
        let spec = mapping::to_spec(&input.stream, kind, &configuration, &self.config())?;
        let definition = Definition {
            throughput_hint_in_mbs: input.throughput_hint_in_mbs,
            kind,
            configuration: Some(configuration),
            ..Definition::first(Origin::Api, spec, self.context.timer.now())
        };
        let made_room = self.catalog.make_room(&input.stream, self.context.timer.now());
        made_room.map_err(|error| Self::internal(&error))?;
        if !input.tags.is_empty() {
            // Before the definition, without which there is no stream.
            let saved = self.catalog.save_tags(&input.stream, &input.tags);
            saved.map_err(|error| Self::internal(&error))?;
        }
        if let Some(encryption) = &encryption {
            let kept = self.keep_encryption(&input.stream, encryption);
            kept.map_err(|error| Self::internal(&error))?;
        }
        self.create(definition).await.map_err(|error| Self::internal(&error))?;
        tracing::info!(stream = %input.stream, "stream created through the API");
        Ok(self.arn(&input.stream))
    }

    async fn delete_stream(self: &Arc<Self>, input: DeleteDeliveryStream) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        let stream = self.known(&input.stream)?;
        Self::yaml_is_read_only(&stream, "deleted")?;
        self.begin_deletion(&stream).map_err(|error| Self::internal(&error))?;
        let daemon = Arc::clone(self);
        tokio::spawn(async move { daemon.finish_deletions().await });
        Ok(())
    }

    /// Changes a stream's tags as a whole.
    async fn change_tags(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Tags) + Send,
    ) -> Result<(), ApiError> {
        let _changing = self.changing.lock().await;
        let stream = self.known(name)?;
        self.require_active(&stream)?;
        let mut tags = self.catalog.tags(name).map_err(|error| Self::internal(&error))?;
        change(&mut tags);
        if tags.len() > TAGS_MAX {
            let message = format!("Firehose {name} would have {} tags; {TAGS_MAX} are allowed.", tags.len());
            return Err(ApiError::new(ErrorCode::LimitExceeded, message));
        }
        self.catalog.save_tags(name, &tags).map_err(|error| Self::internal(&error))
    }

    /// Changes need a stream that is not on its way out.
    pub(super) fn require_active(&self, stream: &Stream) -> Result<(), ApiError> {
        match stream.status() {
            Status::Active => Ok(()),
            status => Err(ApiError::new(
                ErrorCode::ResourceInUse,
                format!(
                    "Firehose {} under accountId {} is {} and cannot be changed.",
                    stream.name(),
                    self.config().account_id,
                    status.as_str()
                ),
            )),
        }
    }

    async fn update_stream(&self, input: UpdateDestination) -> Result<(), ApiError> {
        let (_, next) = self.updated(&input)?;
        self.check_table(&next.spec).await?;
        let _changing = self.changing.lock().await;
        // Once more: all of it may have changed while a catalog was asked.
        let (stream, next) = self.updated(&input)?;
        self.redefine(&stream, next).await.map_err(|error| Self::internal(&error))
    }

    /// What an update makes of a stream, as both are now.
    fn updated(&self, input: &UpdateDestination) -> Result<(Arc<Stream>, Definition), ApiError> {
        let stream = self.known(&input.stream)?;
        Self::yaml_is_read_only(&stream, "updated")?;
        self.require_active(&stream)?;
        let current = stream.definition();
        if input.current_version_id != current.version.to_string() {
            let (name, version) = (input.stream.as_str(), current.version.to_string());
            return Err(ApiError::version_mismatch(name, &version, &input.current_version_id));
        }
        if input.destination_id != DestinationId::primary().as_str() {
            let message = format!("Destination Id {} not found", input.destination_id);
            return Err(ApiError::invalid_argument(message));
        }
        let Destination { kind, configuration } =
            mapping::destination(&current, &self.config()).updated(input.update.clone())?;
        let spec = mapping::to_spec(&input.stream, kind, &configuration, &self.config())?;
        let configuration = Some(configuration);
        let next = Definition { kind, configuration, ..current.next(spec, self.context.timer.now()) };
        Ok((stream, next))
    }
}
