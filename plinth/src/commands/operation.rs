//! `plinth operation`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1::operation_service_client::OperationServiceClient;
use proto::v1::{GetOperationRequest, ListOperationsRequest, Operation};

use crate::args::{OperationArgs, OperationCommand};
use crate::output::{self, Format, Moment};
use crate::view;
use client::{Client, ClientError};

/// Runs the command.
pub async fn run(args: &OperationArgs) -> Result<ExitCode> {
    let mut client = Client::new(&args.connection);
    let format = args.connection.output;
    match args.command {
        OperationCommand::List { all } => list(&mut client, all, format).await?,
        OperationCommand::Show { id } => show(get(&mut client, id).await?, format)?,
        OperationCommand::Wait { id } => {
            let operation = get(&mut client, id).await?;
            show(client.finish(operation).await?, format)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(client: &mut Client, all: bool, format: Format) -> Result<()> {
    let request = ListOperationsRequest { running: !all };
    let asked = client.call(request, async |channel, request| OperationServiceClient::new(channel).list(request).await);
    let operations: Vec<_> = asked.await?.operations.into_iter().map(view::Operation::from).collect();
    output::show(format, &operations, |detail| view::Operation::table(&operations, detail, Moment::now()))
}

async fn get(client: &mut Client, id: u64) -> Result<Operation, ClientError> {
    let asked = client.call(GetOperationRequest { id }, async |channel, request| {
        OperationServiceClient::new(channel).get(request).await
    });
    asked.await
}

fn show(operation: Operation, format: Format) -> Result<()> {
    let operation = view::Operation::from(operation);
    output::show(format, &operation, |_| operation.facts(Moment::now()))
}
