//! `plinth attach --foreground`: asks the cluster, makes the device and keeps it.

use std::convert::Infallible;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attach::{Claim, Directory, DirectoryKeeper, Ending, Host, Keeper, Method, Record};
use tokio::time::{sleep, timeout};

use super::{client_name, end, host};
use crate::args::{AttachArgs, ConnectionArgs, MethodArg};
use crate::commands::{self, Wish};
use crate::exit::Usage;
use crate::serve::Signals;
use client::{Client, Token};

/// How long the cluster is asked whether the attachment of a device that is there still holds. Without an answer it is
/// taken to hold: what was fenced is let in by nobody.
const LOOK_MAX: Duration = Duration::from_secs(3);
/// How often the cluster is asked where its nodes are, at most.
const ADDRESSES_EVERY: Duration = Duration::from_secs(1);

/// Attaches the volume and keeps its device until a signal.
pub async fn run(args: &AttachArgs) -> Result<ExitCode> {
    let mut signals = Signals::new()?;
    let host = host(&args.folder)?;
    let claim = host.claim(&args.name).await?;
    let left = claim.record().cloned();
    let (mut keeper, directory) = tokio::select! {
        raised = raise(args, claim) => match raised {
            Ok(raised) => raised,
            Err(error) => {
                undo(&host, args, left.as_ref()).await;
                return Err(error);
            }
        },
        () = signals.next() => {
            undo(&host, args, left.as_ref()).await;
            bail!("interrupted; what was begun is undone");
        }
    };
    tracing::info!(volume = args.name, device = %keeper.device().display(), "attached");
    tokio::select! {
        fault = keeper.run() => ended(&host, args, &fault),
        never = tell_addresses(&args.connection, &directory) => match never {},
        () = signals.next() => {
            // The device may go from now on.
            stopped(&host, args, &mut signals).await;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The device is gone: as it should be when somebody detaches it.
fn ended(host: &Host, args: &AttachArgs, fault: &attach::KeeperFault) -> Result<ExitCode> {
    match host.find(&args.name)? {
        Some(attachment) if !attachment.record.ending => {
            bail!("the device of volume {} is gone: {fault}; attach it again", args.name)
        }
        Some(_) | None => Ok(ExitCode::SUCCESS),
    }
}

/// Makes the device of an attachment that is new, or was left by a process that ended.
async fn raise(args: &AttachArgs, mut claim: Claim) -> Result<(Keeper, DirectoryKeeper)> {
    let known = claim.record().filter(|record| record.generation != 0).cloned();
    let record = match known {
        Some(record) => {
            check_still_attached(args, &record).await?;
            record
        }
        None => attach_anew(args, &mut claim).await?,
    };
    let (directory, told) = Directory::new(record.addresses);
    let raised = async {
        tokio::select! {
            raised = claim.raise(directory) => raised,
            never = tell_addresses(&args.connection, &told) => match never {},
        }
    };
    let seconds = args.connection.timeout.as_secs();
    let raised = timeout(args.connection.timeout, raised).await;
    let raised = raised.with_context(|| format!("nobody served volume {} within {seconds} s", args.name))?;
    Ok((raised?, told))
}

/// An attachment that ended behind our back must not come back by itself: somebody else may have the volume.
async fn check_still_attached(args: &AttachArgs, record: &Record) -> Result<()> {
    let mut client = Client::quiet(&args.connection.control, LOOK_MAX);
    let volume = match client.volume(&record.name).await {
        Ok(volume) => Some(volume),
        Err(error) if error.is_not_found() => None,
        Err(error) => {
            tracing::warn!("whether the attachment still holds is not known: {error}");
            return Ok(());
        }
    };
    let holds = volume.is_some_and(|volume| end::is_ours(&volume, record));
    if !holds {
        bail!(
            "the cluster has ended this attachment of volume {}: `plinth detach {} --force` removes what is left of it \
             here, then it can be attached again",
            record.name,
            record.name
        );
    }
    Ok(())
}

async fn attach_anew(args: &AttachArgs, claim: &mut Claim) -> Result<Record> {
    let client_name = client_name(args.client.as_deref())?;
    let method = method(args.method).await?;
    let token = Token::draw()?;
    let mut record = Record::new(&args.name, &client_name, token.hex(), method);
    record.read_only = args.read_only;
    record.index = index(args, method)?;
    // Before the cluster is asked: should this process die, what it may have been given can still be returned.
    claim.note(record.clone())?;
    let mut client = Client::new(&args.connection);
    let mode = commands::alone_or_reading(args.read_only);
    let wish = Wish { name: &args.name, client: &client_name, mode, renew: args.renew };
    let reply = commands::attach_volume(&mut client, wish, &token).await?;
    let volume = reply.volume.context("the cluster's answer lacks the volume")?;
    record.volume = volume.id;
    record.size_bytes = volume.size_bytes;
    record.generation = reply.generation;
    record.addresses = reply.nbd_addresses;
    claim.note(record.clone())?;
    if let Some(operation) = reply.operation {
        client.finish(operation).await?;
    }
    Ok(record)
}

async fn method(wish: MethodArg) -> Result<Method> {
    let method = match wish {
        MethodArg::Auto => return Ok(attach::best_method().await?),
        MethodArg::Nbd => Method::Nbd,
        MethodArg::Fuse => Method::Fuse,
    };
    attach::require(method).await?;
    Ok(method)
}

fn index(args: &AttachArgs, method: Method) -> Result<Option<u32>, Usage> {
    let Some(device) = &args.device else { return Ok(None) };
    match (method, attach::nbd_index(device)) {
        (Method::Nbd, Some(index)) => Ok(Some(index)),
        (Method::Nbd, None) => Err(Usage(format!("{} is no /dev/nbdN", device.display()))),
        (Method::Fuse, _) => Err(Usage("with the method fuse the system chooses the loop device".to_owned())),
    }
}

/// Returns what a failed attempt was given. A device that was there before is left as it is: it may be in use.
async fn undo(host: &Host, args: &AttachArgs, left: Option<&Record>) {
    if left.is_some_and(|record| record.generation != 0) {
        return;
    }
    let undone = match args.renew {
        // Who may use the volume was decided elsewhere.
        true => end::end_here(host, &args.name, Ending::Forced).await,
        false => end::end(host, &args.name, &args.connection, Ending::Forced).await.map(drop),
    };
    if let Err(error) = undone {
        tracing::error!("not all is undone: {error:#}; `plinth detach {}` goes on with that", args.name);
    }
}

/// The device need not be kept any more.
async fn stopped(host: &Host, args: &AttachArgs, signals: &mut Signals) {
    let is_fuse = matches!(host.find(&args.name), Ok(Some(found)) if found.record.method == Method::Fuse);
    if !is_fuse {
        // The kernel's client goes on with the connection it has.
        return;
    }
    // The device ends with this process, so it ends in order, if it can.
    tokio::select! {
        lowered = host.rest(&args.name) => {
            if let Err(error) = lowered {
                tracing::warn!("{error}; the next signal ends it all the same");
                signals.next().await;
            }
        }
        () = signals.next() => {}
    }
}

/// Tells where the cluster's nodes are when nobody at the known addresses serves the volume.
async fn tell_addresses(connection: &ConnectionArgs, directory: &DirectoryKeeper) -> Infallible {
    loop {
        directory.asked().await;
        let mut client = Client::quiet(&connection.control, LOOK_MAX);
        match commands::nodes_of(&mut client).await {
            Ok(nodes) => directory.tell(nodes.into_iter().flat_map(|node| node.nbd_addresses).collect()),
            Err(error) => tracing::debug!("the cluster does not say where its nodes are: {error}"),
        }
        sleep(ADDRESSES_EVERY).await;
    }
}
