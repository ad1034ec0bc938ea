//! `plinth explain`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use crate::args::ExplainArgs;
use crate::output;
use client::Client;

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
    let sentences = Client::new(&args.connection).explain(kind, &name).await?;
    let explanation = Explanation { kind, name, sentences };
    output::show(args.connection.output, &explanation, |_| {
        explanation.sentences.iter().map(|sentence| format!("{sentence}\n")).collect()
    })?;
    Ok(ExitCode::SUCCESS)
}
