//! The `catalogs` section: where the columns of tables are that are not in the file.

use std::path::PathBuf;
use std::time::Duration;

use standpipe_sinks::iceberg::{OAuth, RestAuth};

use super::compound::Sub;
use super::reader::Section;
use super::shapes::{FilePath, Span, Url, secret, text};
use super::stores::{AwsService, aws_service};
use crate::spec::CatalogKind;

/// The catalogs that there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogs {
    /// AWS Glue.
    pub glue: Option<GlueConfig>,
    /// An Iceberg REST catalog.
    pub iceberg: Option<IcebergConfig>,
}

/// How AWS Glue is reached, or a server that speaks its language.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlueConfig {
    /// How it is reached.
    pub service: AwsService,
    /// How often a table is asked for again.
    pub refresh: Duration,
}

/// How an Iceberg REST catalog is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IcebergConfig {
    /// Its address.
    pub uri: String,
    /// Which of its warehouses.
    pub warehouse: Option<String>,
    /// Who asks.
    pub auth: RestAuth,
    /// Certificate authorities (PEM) trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take.
    pub timeout: Duration,
    /// How often a table is asked for again.
    pub refresh: Duration,
}

impl Catalogs {
    /// How often a table of a catalog is asked for again, if there is that catalog.
    pub(crate) fn refresh(&self, kind: CatalogKind) -> Option<Duration> {
        match kind {
            CatalogKind::Glue => self.glue.as_ref().map(|glue| glue.refresh),
            CatalogKind::Iceberg => self.iceberg.as_ref().map(|iceberg| iceberg.refresh),
        }
    }

    /// The one that has the tables of which no catalog is named.
    pub(crate) fn default_kind(&self) -> Option<CatalogKind> {
        [CatalogKind::Glue, CatalogKind::Iceberg].into_iter().find(|kind| self.refresh(*kind).is_some())
    }
}

/// Reads the section.
pub(super) fn catalogs(section: &mut Section<'_, '_>) -> Catalogs {
    section.section(
        "catalogs",
        |section| {
            Some(Catalogs {
                glue: section.optional("glue", Sub(glue), "AWS Glue, or a server that speaks its language."),
                iceberg: section.optional("iceberg", Sub(iceberg), "A REST catalog of Apache Iceberg."),
            })
        },
        "Where the columns of tables are that are not under `schemas`. Where there are both, Glue has those of which no \
         catalog is named.",
    )
}

fn glue(section: &mut Section<'_, '_>) -> Option<GlueConfig> {
    let service = aws_service(section, "Its address; AWS's own for the region where absent.");
    Some(GlueConfig { service, refresh: refresh(section) })
}

fn refresh(section: &mut Section<'_, '_>) -> Duration {
    section.or(
        "refresh",
        Span::secs(1..=86_400),
        "5m",
        "How often a table is asked for again. What has changed counts for the batches that close from then on.",
    )
}

fn iceberg(section: &mut Section<'_, '_>) -> Option<IcebergConfig> {
    let uri = section.required("uri", Url, "Its address, which `/v1/…` follows.");
    let warehouse =
        section.optional("warehouse", text(1..=1_024), "Which of its warehouses, where it has several.");
    let token = secret(
        section,
        "token",
        "token_file",
        "The bearer token to ask with; better a variable or a file than here.",
        "A file that holds the token.",
    );
    let oauth = section.optional("oauth", Sub(oauth), "A client that is given tokens (client credentials).");
    section.exclusive("token", "oauth");
    section.exclusive("token_file", "oauth");
    let auth = match (token, oauth) {
        (Some(token), _) => RestAuth::Token(token),
        (None, Some(client)) => RestAuth::OAuth(client),
        (None, None) => RestAuth::Nobody,
    };
    let ca_file = section.optional(
        "ca_file",
        FilePath,
        "Certificate authorities (PEM) that are trusted beside the system's.",
    );
    let timeout = section.or("timeout", Span::secs(1..=60), "5s", "How long one call may take.");
    Some(IcebergConfig { uri: uri?, warehouse, auth, ca_file, timeout, refresh: refresh(section) })
}

fn oauth(section: &mut Section<'_, '_>) -> Option<OAuth> {
    let server = section.optional(
        "server",
        Url,
        "The address that gives tokens; the catalog's own `/v1/oauth/tokens` where absent.",
    );
    let client_id = section.required("client_id", text(1..=1_024), "The client.");
    let client_secret = secret(
        section,
        "client_secret",
        "client_secret_file",
        "The client's secret; better a variable or a file than here.",
        "A file that holds the secret.",
    );
    if client_secret.is_none() && !section.given("client_secret") && !section.given("client_secret_file") {
        section.refuse("", "the key \"client_secret\" or \"client_secret_file\" is missing");
    }
    let scope = section.or("scope", text(1..=1_024), "catalog", "What the tokens are for.");
    Some(OAuth { server, client_id: client_id?, client_secret: client_secret?, scope })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{good, load, with_destination};
    use super::*;

    #[test]
    fn who_asks_an_iceberg_catalog_is_one_and_shows_no_secret() {
        let with = |auth: &str| {
            format!("catalogs: {{ iceberg: {{ uri: 'https://c/api'{auth} }} }}\n{}", with_destination("{}"))
        };
        let config = good(&with(", warehouse: w, token: hunter2"));
        let shown = format!("{:?}", config.catalogs);
        assert!(shown.contains("Token(***)") && !shown.contains("hunter2"), "{shown}");
        assert_eq!(good(&with("")).catalogs.iceberg.unwrap().auth, RestAuth::Nobody);
        for (auth, expected) in [
            (
                ", token: t, oauth: {client_id: me, client_secret: s}",
                "give either \"token\" or \"oauth\", not both",
            ),
            (", oauth: {client_id: me}", "the key \"client_secret\" or \"client_secret_file\" is missing"),
        ] {
            let told = load(&[("standpipe.yaml", &with(auth))]).expect_err(auth);
            assert!(matches!(&told[..], [one] if one.ends_with(expected)), "{told:?}");
        }
    }
}
