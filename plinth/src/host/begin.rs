//! `plinth attach`: has a process of its own keep the device, and waits until it is there.

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Seek};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attach::Host;
use tokio::time::{sleep, timeout};

use super::{Device, host, tell};
use crate::args::{AttachArgs, MethodArg};
use crate::serve::Signals;

const STEP: Duration = Duration::from_millis(20);

/// Attaches the volume, or finds that it is.
pub async fn run(args: &AttachArgs) -> Result<ExitCode> {
    let host = host(&args.folder)?;
    if let Some(device) = attached(&host, &args.name)? {
        grow(&host, args).await?;
        let device = attached(&host, &args.name)?.unwrap_or(device);
        tell(&device, args.connection.output)?;
        return Ok(ExitCode::SUCCESS);
    }
    let log = host.log(&args.name);
    let (mut agent, said) =
        start(args, &log).with_context(|| format!("cannot start the process that keeps {}", args.name))?;
    let device = tokio::select! {
        device = appear(&host, args, &mut agent) => device?,
        () = interrupted() => {
            // It undoes what it has begun.
            let _ = Command::new("kill").arg(agent.id().to_string()).status();
            bail!("interrupted; nothing is attached");
        }
    };
    let Some(device) = device else { return failed(&mut agent, &log, said) };
    tell(&device, args.connection.output)?;
    Ok(ExitCode::SUCCESS)
}

async fn interrupted() {
    match Signals::new() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// The device, when it is there and somebody keeps it.
fn attached(host: &Host, name: &str) -> Result<Option<Device>> {
    let found = host.find(name)?.map(Device::from);
    Ok(found.filter(|device| device.keeper.is_some() && device.device.is_some() && !device.detaching))
}

/// Makes the device as large as its volume, if there is somebody to ask.
async fn grow(host: &Host, args: &AttachArgs) -> Result<()> {
    match timeout(args.connection.timeout, host.grow(&args.name)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => {
            tracing::warn!("nobody serves volume {} now; the device is as it was", args.name);
            Ok(())
        }
    }
}

/// Starts this program once more, to stay; with what it will say, which is there also when its file is removed.
fn start(args: &AttachArgs, log: &Path) -> Result<(Child, File)> {
    if let Some(folder) = log.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let said = File::options().create(true).read(true).append(true).mode(0o600).open(log)?;
    said.set_len(0)?;
    let method = match args.method {
        MethodArg::Auto => "auto",
        MethodArg::Nbd => "nbd",
        MethodArg::Fuse => "fuse",
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["attach", &args.name, "--foreground", "--method", method]);
    command.args(["--control", &args.connection.control.join(",")]);
    command.args(["--timeout", &args.connection.timeout.as_secs().to_string()]);
    command.arg("--folder").arg(&args.folder.folder);
    command.args(args.read_only.then_some("--read-only"));
    command.args(args.renew.then_some("--renew"));
    command.args(args.client.iter().flat_map(|client| ["--client", client]));
    if let Some(device) = &args.device {
        command.arg("--device").arg(device);
    }
    // In a group of its own: what a terminal sends to this process is not for it.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?).process_group(0);
    Ok((command.spawn()?, said))
}

/// Waits for the device; `None` when the process has ended instead. It bounds its own time.
async fn appear(host: &Host, args: &AttachArgs, agent: &mut Child) -> Result<Option<Device>> {
    loop {
        if let Some(device) = attached(host, &args.name)?.filter(|device| device.keeper == Some(agent.id())) {
            return Ok(Some(device));
        }
        if agent.try_wait()?.is_some() {
            return Ok(None);
        }
        sleep(STEP).await;
    }
}

/// Says what the process said last, and ends as it did.
fn failed(agent: &mut Child, log: &Path, mut file: File) -> Result<ExitCode> {
    let status = agent.wait()?;
    let mut said = String::new();
    file.rewind().and_then(|()| file.read_to_string(&mut said))?;
    let last = said.lines().rev().find_map(|line| line.strip_prefix("plinth: "));
    // Where nothing is kept of the volume, its log is all there is.
    if let Some(folder) = log.parent().filter(|folder| !folder.join("record.json").exists()) {
        let _ = fs::remove_file(log);
        let _ = fs::remove_file(folder.join("agent"));
        let _ = fs::remove_dir(folder);
    }
    match last {
        Some(last) => crate::complain(last),
        None => bail!("the process that was to keep the device ended ({status}): {said}"),
    }
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}
