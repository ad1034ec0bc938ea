//! `plinth cluster`.

use std::process::ExitCode;

use anyhow::Result;
use proto::v1;
use proto::v1::cluster_service_client::ClusterServiceClient;

use serde_json::json;

use super::status;
use crate::args::{ClusterArgs, ClusterCommand};
use crate::output::{self, Detail, Format};
use crate::view;
use client::{Client, ClientError, request_id};

/// Runs the command.
pub async fn run(args: &ClusterArgs) -> Result<ExitCode> {
    let mut client = Client::new(&args.connection);
    let format = args.connection.output;
    match &args.command {
        ClusterCommand::Voters => voters(&mut client, format).await?,
        ClusterCommand::AddVoter { id, address } => {
            let request = v1::AddVoterRequest { id: *id, address: address.clone() };
            // The new voter gets the whole log first.
            let asked = client.call_patiently(request, async |channel, request| {
                ClusterServiceClient::new(channel).add_voter(request).await
            });
            asked.await?;
            voters(&mut client, format).await?;
        }
        ClusterCommand::RemoveVoter { id } => {
            let request = v1::RemoveVoterRequest { id: *id };
            let asked = client.call_patiently(request, async |channel, request| {
                ClusterServiceClient::new(channel).remove_voter(request).await
            });
            asked.await?;
            voters(&mut client, format).await?;
        }
        ClusterCommand::Resume { without } => resume(&mut client, without, format).await?,
        ClusterCommand::Settings => {
            let settings = status::ask(&mut client).await?.settings.unwrap_or_default();
            let settings = view::Settings::from(settings);
            output::show(format, &settings, |_| settings.facts())?;
        }
        ClusterCommand::Set { overcommit_percent, full_percent, replace_after } => {
            let replace_after_ms = replace_after.map(|span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
            let wanted = v1::SetSettingsRequest {
                overcommit_percent: *overcommit_percent,
                full_percent: *full_percent,
                replace_after_ms,
                ..v1::SetSettingsRequest::default()
            };
            let settings = set_settings(&mut client, wanted).await?;
            let settings = view::Settings::from(settings);
            output::show(format, &settings, |_| settings.facts())?;
        }
        ClusterCommand::Watch => watch(&mut client, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What nodes told is compared with what the cluster knew.
async fn resume(client: &mut Client, without: &[String], format: Format) -> Result<()> {
    let request = v1::ResumeRequest { request_id: request_id()?, without: without.to_vec() };
    let asked =
        client.call(request, async |channel, request| ClusterServiceClient::new(channel).resume(request).await).await?;
    let problems: Vec<String> =
        asked.problems.into_iter().map(|problem| format!("{}: {}", problem.subject, problem.sentence)).collect();
    let text = problems.iter().map(|problem| format!("{problem}\n")).collect::<String>();
    output::show(format, &json!({ "resumed": true, "without": without, "problems": problems }), |_| {
        format!("the cluster goes on\n{text}")
    })?;
    Ok(())
}

/// As the status has them: it says who leads.
async fn voters(client: &mut Client, format: Format) -> Result<()> {
    let voters = view::Status::from(status::ask(client).await?).voters;
    output::show(format, &voters, |_| view::Voter::table(&voters))
}

/// Changes what is given.
pub async fn set_settings(client: &mut Client, wanted: v1::SetSettingsRequest) -> Result<v1::Settings, ClientError> {
    let request = v1::SetSettingsRequest { request_id: request_id()?, ..wanted };
    client.call(request, async |channel, request| ClusterServiceClient::new(channel).set_settings(request).await).await
}

/// Prints until it is interrupted, or the voters are silent for as long as `--timeout` says.
async fn watch(client: &mut Client, format: Format) -> Result<()> {
    loop {
        let asked = client.call(v1::WatchRequest {}, async |channel, request| {
            ClusterServiceClient::new(channel).watch(request).await
        });
        let mut changes = asked.await?;
        while let Some(status) = client.next(&mut changes).await? {
            output::print(&change(&view::Status::from(status), format)?)?;
        }
        client.pause().await;
    }
}

/// A line for people, a line of JSON, or a document of YAML.
fn change(status: &view::Status, format: Format) -> Result<String> {
    Ok(match format {
        Format::Table => status.line(),
        Format::Wide => status.text(Detail::Wide) + "\n",
        Format::Json => serde_json::to_string(status)? + "\n",
        Format::Yaml => format!("---\n{}", yaml_serde::to_string(status)?),
    })
}

#[cfg(test)]
mod tests {
    use proto::v1;

    use super::{Format, change};
    use crate::view;

    #[test]
    fn a_watching_program_gets_one_document_after_the_other() {
        let status = view::Status::from(v1::StatusReply::default());
        let json = change(&status, Format::Json).unwrap();
        assert_eq!(json.lines().count(), 1);
        assert!(change(&status, Format::Yaml).unwrap().starts_with("---\n"));
        assert_eq!(change(&status, Format::Table).unwrap().lines().count(), 1);
    }
}
