//! Schemas between the configuration and the definitions of streams that were made through the API: a change of columns
//! is another version.

use super::Daemon;
use super::reload::ReloadError;
use crate::catalog::{Definition, Origin};
use crate::config::Config;
use crate::spec::StreamSpec;

/// The specification with the columns that its tables have now; `None` where they are the same.
///
/// # Errors
/// A table is gone, or lacks what the stream needs of it.
fn renewed(spec: &StreamSpec, config: &Config) -> Result<Option<StreamSpec>, ReloadError> {
    let mut renewed = spec.clone();
    for conversion in renewed.conversions_mut().filter(|of| of.columns_from.is_none()) {
        let schema = format!("{}.{}", conversion.table.database, conversion.table.table);
        let Some(columns) = config.schemas.get(&schema) else {
            return Err(ReloadError::SchemaInUse { schema, stream: spec.name.clone() });
        };
        conversion.schema = columns.clone();
        if let Err(source) = conversion.format() {
            return Err(ReloadError::SchemaUnfit { schema, stream: spec.name.clone(), source });
        }
    }
    Ok((renewed != *spec).then_some(renewed))
}

impl Daemon {
    /// The definitions that stay in force under a new configuration find their schemas.
    pub(super) fn check_schemas_needed(&self, config: &Config) -> Result<(), ReloadError> {
        let definitions = self.streams().into_iter().map(|stream| stream.definition());
        let mut by_api = definitions.filter(|definition| definition.origin == Origin::Api);
        by_api.try_for_each(|definition| renewed(&definition.spec, config).map(drop))
    }

    /// Gives the streams whose tables have other columns now their next version.
    pub(super) async fn renew_schemas(&self, config: &Config) -> Result<(), ReloadError> {
        for stream in self.streams() {
            let current = stream.definition();
            if current.origin == Origin::Api
                && let Some(spec) = renewed(&current.spec, config)?
            {
                self.redefine(&stream, current.next(spec, self.context.timer.now())).await?;
            }
        }
        Ok(())
    }

    /// What a stream's specification becomes at the start, where a table has changed meanwhile. A table that is gone
    /// stops nothing: the definition has its columns.
    pub(super) fn renewed_at_start(&self, current: &Definition) -> Option<StreamSpec> {
        if current.origin != Origin::Api {
            return None;
        }
        renewed(&current.spec, &self.config()).unwrap_or_else(|error| {
            tracing::warn!(stream = %current.spec.name, %error, "the stream goes on with the schema that it has");
            None
        })
    }
}
