//! `plinth control`: a voter.

use std::process::ExitCode;

use anyhow::Result;
use control_plane::{Config, ControlPlane, Start, StartError};

use super::config::either;
use super::{config, needed, recover, with_option};
use crate::args::{ControlArgs, ControlCommand};
use crate::exit::Usage;
use crate::output;
use crate::serve::{self, Running, Signals};

/// Takes part until a signal.
pub fn run(args: &ControlArgs) -> Result<ExitCode> {
    if let Some(ControlCommand::Recover { data, forget_voters }) = &args.command {
        return recover::run(data, forget_voters);
    }
    let config = settled(args.clone(), config::read(args.config.as_deref())?)?;
    serve::runtime()?.block_on(async {
        let (id, data) = (config.id, config.data.clone());
        let voter = ControlPlane::start(config).await.map_err(|error| explain(&error))?;
        let signals = Signals::new()?;
        output::print(&format!("voter {id} is at {}, its data in {}\n", voter.address(), data.display()))?;
        serve::until_signal(Running { nodes: Vec::new(), voter: Some(voter) }, signals).await
    })
}

/// What the command line says, and where it is silent, the file.
fn settled(args: ControlArgs, file: ControlArgs) -> Result<Config, Usage> {
    let start = start(&args, &file)?;
    Ok(Config {
        id: needed(args.id.or(file.id), "id", "1")?,
        data: needed(args.data.or(file.data), "data", "/var/lib/plinth")?,
        listen: needed(args.listen.or(file.listen), "listen", "10.0.0.1:10700")?,
        advertise: args.advertise.or(file.advertise).map(|host| host.to_string()),
        http: args.http.or(file.http),
        start,
        others: either(args.others, file.others),
    })
}

/// Who says neither only goes on with what was begun: to found a second cluster by mistake would be worse than to wait.
fn start(args: &ControlArgs, file: &ControlArgs) -> Result<Start, Usage> {
    let said = if args.bootstrap || args.join { args } else { file };
    match (said.bootstrap, said.join) {
        (true, false) => Ok(Start::Bootstrap),
        (false, true | false) => Ok(Start::Join),
        (true, true) => Err(Usage("bootstrap and join exclude each other: choose one in the config file".to_owned())),
    }
}

/// Says which option helps.
fn explain(error: &StartError) -> anyhow::Error {
    let option = match error {
        StartError::Listen { .. } => "--listen ADDR",
        StartError::NoAddress(_) => "--advertise HOST",
        StartError::Http { .. } => "--http ADDR",
        StartError::Founding(_) => "--others ADDR,..",
        StartError::Consensus(_) => "--data DIR",
    };
    with_option(error, option)
}

#[cfg(test)]
mod tests {
    use control_plane::Start;

    use super::settled;
    use crate::args::ControlArgs;

    fn complete() -> ControlArgs {
        ControlArgs {
            id: Some(1),
            data: Some("d".into()),
            listen: Some(([127, 0, 0, 1], 1).into()),
            ..ControlArgs::default()
        }
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let args = ControlArgs { id: Some(2), ..ControlArgs::default() };
        let config = settled(args, complete()).unwrap();
        assert_eq!((config.id, config.data), (2, "d".into()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let file = ControlArgs { listen: None, ..complete() };
        let error = settled(ControlArgs::default(), file).unwrap_err().to_string();
        assert!(error.starts_with("--listen is missing: give it, such as --listen 10.0.0.1:10700"), "{error}");
    }

    /// What the command line says (bootstrap, join), what the file says, what comes of it.
    #[test]
    fn a_cluster_is_founded_only_when_that_is_said() {
        let said = |(bootstrap, join)| ControlArgs { bootstrap, join, ..complete() };
        let rows = [
            ((false, false), (false, false), Some(Start::Join)),
            ((true, false), (false, false), Some(Start::Bootstrap)),
            ((false, true), (false, false), Some(Start::Join)),
            ((false, false), (true, false), Some(Start::Bootstrap)),
            ((false, false), (false, true), Some(Start::Join)),
            ((false, true), (true, false), Some(Start::Join)),
            ((true, false), (false, true), Some(Start::Bootstrap)),
            ((false, false), (true, true), None),
            ((false, true), (true, true), Some(Start::Join)),
        ];
        for (args, file, expected) in rows {
            let found = settled(said(args), said(file)).map(|config| config.start).ok();
            assert_eq!(found, expected, "{args:?} {file:?}");
        }
    }
}
