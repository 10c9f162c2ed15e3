//! Who asks a catalog: nobody, the bearer of a token, or a client that is given tokens (OAuth 2, client credentials).

use std::sync::{Mutex, PoisonError};

use reqwest::Client;
use serde::Deserialize;
use standpipe_model::{Secret, Timestamp};

use super::rest::{RestError, receive};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestAuth {
    /// Nobody in particular.
    Nobody,
    /// The bearer of this token.
    Token(Secret),
    /// A client that is given tokens.
    OAuth(OAuth),
}

/// A client that is given tokens for its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth {
    /// Where; the catalog itself (`/v1/oauth/tokens`) where absent.
    pub server: Option<String>,
    /// The client.
    pub client_id: String,
    /// Its secret.
    pub client_secret: Secret,
    /// What the tokens are for.
    pub scope: String,
}

/// The token at hand.
#[derive(Debug)]
pub(super) struct Bearer {
    auth: RestAuth,
    given_at: String,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    token: Secret,
    until: Option<Timestamp>,
}

/// What a server of tokens answers.
#[derive(Deserialize)]
struct Given {
    access_token: Secret,
    expires_in: Option<u64>,
}

impl Bearer {
    /// Whoever asks a catalog at `uri`.
    pub(super) fn new(auth: RestAuth, uri: &str) -> Self {
        let own = format!("{uri}/v1/oauth/tokens");
        let given_at = match &auth {
            RestAuth::OAuth(OAuth { server: Some(server), .. }) => server.clone(),
            _ => own,
        };
        Self { auth, given_at, kept: Mutex::default() }
    }

    /// The token to ask with, if there is to be one.
    ///
    /// # Errors
    /// [`RestError`]: none was given.
    pub(super) async fn token(&self, http: &Client, now: Timestamp) -> Result<Option<Secret>, RestError> {
        let client = match &self.auth {
            RestAuth::Nobody => return Ok(None),
            RestAuth::Token(token) => return Ok(Some(token.clone())),
            RestAuth::OAuth(client) => client,
        };
        let at_hand = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .and_then(|kept| kept.until.is_none_or(|until| now < until).then(|| kept.token.clone()));
        if at_hand.is_some() {
            return Ok(at_hand);
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &client.client_id),
            ("client_secret", client.client_secret.expose()),
            ("scope", &client.scope),
        ];
        let Given { access_token, expires_in } = receive(http.post(&self.given_at).form(&form)).await?;
        // A tenth of its time is for clocks and calls on their way.
        let until =
            expires_in.map(|secs| Timestamp(now.as_millis().saturating_add(secs.saturating_mul(900))));
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Kept { token: access_token.clone(), until });
        Ok(Some(access_token))
    }

    /// The token at hand is not taken any more.
    pub(super) fn forget(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
