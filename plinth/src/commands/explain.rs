//! `plinth explain`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::ExplainRequest;
use proto::v1::cluster_service_client::ClusterServiceClient;
use serde::Serialize;

use crate::args::ExplainArgs;
use crate::client::Client;
use crate::output;

/// What a thing is and what it waits for.
#[derive(Serialize)]
struct Explanation {
    kind: &'static str,
    name: String,
    sentences: Vec<String>,
}

/// Asks for it and prints it.
pub async fn run(args: &ExplainArgs) -> Result<ExitCode> {
    let (kind, name) = (args.kind.word(), args.name.clone().unwrap_or_default());
    let request = ExplainRequest { kind: kind.to_owned(), name: name.clone() };
    let asked = Client::new(&args.connection)
        .call(request, async |channel, request| ClusterServiceClient::new(channel).explain(request).await)
        .await?;
    let explanation = Explanation { kind, name, sentences: asked.sentences };
    output::show(args.connection.output, &explanation, |_| {
        explanation.sentences.iter().map(|sentence| format!("{sentence}\n")).collect()
    })?;
    Ok(ExitCode::SUCCESS)
}
