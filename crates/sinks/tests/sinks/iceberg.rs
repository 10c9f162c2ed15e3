//! The REST catalog of Iceberg: who asks it, and what it means when it does not answer as wished. What it answers to who
//! may ask is shown with the real one, through the daemon.

use standpipe_model::{Secret, Timestamp};
use standpipe_sinks::ClientOptions;
use standpipe_sinks::iceberg::{OAuth, RestAuth, RestCatalog, RestError, RestOptions};

use crate::scripted::{Answer, Scripted};

const TABLE: &str = r#"{"metadata":{"schemas":[{"schema-id":0,"fields":[]}],"current-schema-id":0}}"#;

fn json(status: u16, body: &str) -> Option<Answer> {
    Some((status, "content-type: application/json\r\n", body.to_owned()))
}

/// Gives tokens of 100 seconds; has one table, and others that it cannot show.
fn catalog(first: &str) -> Option<Answer> {
    let path = first.split(' ').nth(1).expect("a path");
    match path {
        "/tokens" => json(200, r#"{"access_token":"t","token_type":"bearer","expires_in":100}"#),
        "/c/v1/oauth/tokens" => json(401, r#"{"error":"invalid_client","error_description":"who?"}"#),
        "/c/v1/config?warehouse=a+b" => {
            json(200, r#"{"defaults":{"prefix":"x"},"overrides":{"prefix":"a%7Cb/c"}}"#)
        }
        "/c/v1/config" => json(200, r#"{"defaults":{},"overrides":{}}"#),
        "/c/v1/a%7Cb/c/namespaces/lake%1Fup/tables/fl%20ights?snapshots=refs" => json(200, TABLE),
        path if path.contains("/withdrawn?") => {
            json(401, r#"{"error":{"message":"expired","type":"NotAuthorizedException","code":401}}"#)
        }
        path if path.contains("/busy?") => json(503, "<html>"),
        path if path.contains("/odd?") => json(200, "{}"),
        path if path.contains("/none?") => json(
            404,
            r#"{"error":{"message":"Table does not exist","type":"NoSuchTableException","code":404}}"#,
        ),
        _ => json(404, "nothing here"),
    }
}

fn asked_by(uri: &str, warehouse: Option<&str>, auth: RestAuth) -> RestCatalog {
    let (uri, warehouse) = (uri.to_owned(), warehouse.map(str::to_owned));
    RestCatalog::new(RestOptions { uri, warehouse, auth, client: ClientOptions::default() })
        .expect("good settings")
}

fn client(server: Option<String>) -> RestAuth {
    let (client_id, client_secret) = ("me".to_owned(), Secret::new("hunter2"));
    RestAuth::OAuth(OAuth { server, client_id, client_secret, scope: "catalog".to_owned() })
}

#[tokio::test]
async fn a_token_is_asked_for_once_and_again_when_its_time_is_over_or_it_is_refused() {
    let double = Scripted::start(catalog).await;
    let uri = format!("{}/c/", double.endpoint);
    let rest = asked_by(&uri, Some("a b"), client(Some(format!("{}/tokens", double.endpoint))));
    assert!(!format!("{rest:?}").contains("hunter2"));
    let flights = |at| rest.table(&["lake", "up"], "fl ights", Timestamp(at));
    for (at, tokens) in [(0, 1), (89_999, 1), (90_000, 2)] {
        assert!(flights(at).await.unwrap().schema(None).is_some());
        let seen = double.seen();
        assert_eq!(seen.iter().filter(|first| first.starts_with("POST /tokens")).count(), tokens, "{seen:?}");
        assert!(seen.last().unwrap().ends_with("authorization: bearer t"), "{seen:?}");
    }
    let refused = rest.table(&["lake"], "withdrawn", Timestamp(90_000)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the Iceberg catalog refused: HTTP status 401 NotAuthorizedException expired"
    );
    flights(90_000).await.unwrap();
    let seen = double.seen();
    assert_eq!(seen.iter().filter(|first| first.starts_with("POST /tokens")).count(), 3, "{seen:?}");
    assert_eq!(seen.iter().filter(|first| first.contains("/config")).count(), 1, "{seen:?}");
}

#[tokio::test]
async fn what_a_catalog_does_not_answer_is_told_by_what_can_be_done() {
    let double = Scripted::start(catalog).await;
    let uri = format!("{}/c", double.endpoint);
    let rest = asked_by(&uri, None, RestAuth::Nobody);
    let told = async |table: &str| rest.table(&["lake"], table, Timestamp(0)).await.unwrap_err();
    assert!(matches!(told("none").await, RestError::NoTable(words) if words == "Table does not exist"));
    assert!(matches!(told("elsewhere").await, RestError::Refused(words) if words == "HTTP status 404"));
    assert!(matches!(told("busy").await, RestError::Away(words) if words == "HTTP status 503"));
    assert!(matches!(told("odd").await, RestError::Unread(_)));
    assert!(!double.seen().concat().contains("authorization"), "nobody is nobody");
    let unknown = asked_by(&uri, None, client(None)).table(&["lake"], "none", Timestamp(0)).await;
    assert_eq!(
        unknown.unwrap_err().to_string(),
        "the Iceberg catalog refused: HTTP status 401 invalid_client who?"
    );
    let away = asked_by("http://127.0.0.1:1", None, RestAuth::Token(Secret::new("t")));
    let away = away.table(&["lake"], "none", Timestamp(0)).await;
    assert!(matches!(away, Err(RestError::Away(_))), "{away:?}");
}
