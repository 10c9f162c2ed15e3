//! `standpipe streams …`: the control plane of the Firehose API from the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::{Method, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::batches::AdminArgs;
use super::client::{ConnectArgs, FirehoseClient};
use super::{count, print};

/// The commands about streams.
#[derive(Debug, Subcommand)]
pub enum StreamsCommand {
    /// Print the names of all streams, one per line.
    List(ConnectArgs),
    /// Print a stream's description as JSON.
    Describe(NameArgs),
    /// Create a stream from the JSON of a CreateDeliveryStream request, and print its ARN.
    Create(CreateArgs),
    /// Delete a stream; records that are not delivered yet are discarded.
    Delete(DeleteArgs),
    /// Give up what is held for a destination that was taken out of a stream's configuration.
    Forget(ForgetArgs),
}

/// Arguments of `streams forget`.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The stream's name.
    pub name: String,
    /// The id that the destination had.
    #[arg(long, value_name = "ID")]
    pub destination: String,
    /// Where to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// One stream.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The stream's name.
    pub name: String,
    /// How to reach the daemon.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Arguments of `streams create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The file with the request; `-` is standard input.
    #[arg(long, short)]
    pub file: PathBuf,
    /// How to reach the daemon.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Arguments of `streams delete`.
#[derive(Debug, Args)]
pub struct DeleteArgs {
    /// The stream.
    #[command(flatten)]
    pub stream: NameArgs,
    /// Delete it even where its encryption grant cannot be retired (`AllowForceDelete`).
    #[arg(long)]
    pub force: bool,
    /// Delete it through the admin listener, also one of the configuration file, and discard what it has not delivered.
    #[arg(long)]
    pub discard: bool,
    /// The admin listener's address, for --discard [default: http://127.0.0.1:8573, or `admin` of --config].
    #[arg(long, env = "STANDPIPE_ADMIN", value_name = "URL", requires = "discard")]
    pub admin: Option<Uri>,
}

pub(super) async fn run(command: StreamsCommand) -> anyhow::Result<ExitCode> {
    match command {
        StreamsCommand::Forget(ForgetArgs { name, destination, admin }) => {
            let path = format!("/streams/{name}/destinations/{destination}");
            let answer = admin.call(Method::DELETE, &path).await?;
            let records = answer["records"].as_u64().context("the daemon's answer has no records")?;
            print(&format!("{} given up\n", count(records, "record")))?;
        }
        StreamsCommand::List(connect) => {
            // A name is printed as soon as it is known.
            let print_all =
                |names: &[String]| print(&names.iter().map(|name| format!("{name}\n")).collect::<String>());
            list(&FirehoseClient::connect(&connect)?, print_all).await?;
        }
        StreamsCommand::Describe(NameArgs { name, connect }) => {
            let described = describe(&FirehoseClient::connect(&connect)?, &name).await?;
            print(&format!("{}\n", serde_json::to_string_pretty(&described)?))?;
        }
        StreamsCommand::Create(CreateArgs { file, connect }) => {
            let input = read(&file)?;
            let answer: Created =
                call(&FirehoseClient::connect(&connect)?, "CreateDeliveryStream", &input).await?;
            print(&format!("{}\n", answer.arn))?;
        }
        StreamsCommand::Delete(DeleteArgs {
            stream: NameArgs { name, connect },
            discard: true,
            admin,
            ..
        }) => {
            let admin = AdminArgs { admin, config: connect.config };
            admin.call(Method::DELETE, &format!("/streams/{name}")).await?;
        }
        StreamsCommand::Delete(DeleteArgs { stream: NameArgs { name, connect }, force, .. }) => {
            let input = json!({ "DeliveryStreamName": name, "AllowForceDelete": force });
            let body = Bytes::from(serde_json::to_vec(&input)?);
            FirehoseClient::connect(&connect)?.call("DeleteDeliveryStream", body).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    #[serde(rename = "DeliveryStreamARN")]
    arn: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    delivery_stream_names: Vec<String>,
    has_more_delivery_streams: bool,
}

/// Hands all names to `take`, page by page.
pub(super) async fn list(
    client: &FirehoseClient,
    mut take: impl FnMut(&[String]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut input = json!({ "Limit": 1000 });
    loop {
        let page: Page = call(client, "ListDeliveryStreams", &input).await?;
        take(&page.delivery_stream_names)?;
        match page.delivery_stream_names.last() {
            Some(last) if page.has_more_delivery_streams => {
                input["ExclusiveStartDeliveryStreamName"] = json!(last);
            }
            _ => return Ok(()),
        }
    }
}

/// The description of a stream.
pub(super) async fn describe(client: &FirehoseClient, name: &str) -> anyhow::Result<Value> {
    let mut answer: Value =
        call(client, "DescribeDeliveryStream", &json!({ "DeliveryStreamName": name })).await?;
    Ok(answer.get_mut("DeliveryStreamDescription").map(Value::take).unwrap_or(answer))
}

/// The tags of a stream: they all fit into one answer.
pub(super) async fn tags(client: &FirehoseClient, name: &str) -> anyhow::Result<Value> {
    let mut answer: Value =
        call(client, "ListTagsForDeliveryStream", &json!({ "DeliveryStreamName": name })).await?;
    Ok(answer["Tags"].take())
}

async fn call<T: for<'de> Deserialize<'de>>(
    client: &FirehoseClient,
    operation: &str,
    input: &Value,
) -> anyhow::Result<T> {
    let answer = client.call(operation, Bytes::from(serde_json::to_vec(input)?)).await?;
    serde_json::from_slice(&answer).with_context(|| format!("the answer to {operation} cannot be understood"))
}

/// Reads a JSON file; `-` is standard input.
fn read(path: &Path) -> anyhow::Result<Value> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().lock().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}
