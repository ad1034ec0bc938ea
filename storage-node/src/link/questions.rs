//! Questions of a leader that take their time: each is asked of the machine beside everything else, and answered on the
//! stream that it came by, or never.

use std::sync::Arc;

use node::{Answer, Command, ControlError};
use proto::link::FromNode;
use tokio::select;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;

use crate::control::{CallError, Control};

/// Questions at a time.
const QUESTIONS_MAX: usize = 8;

/// Those of one stream.
#[derive(Debug)]
pub(super) struct Questions(Arc<Semaphore>);

impl Default for Questions {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(QUESTIONS_MAX)))
    }
}

impl Questions {
    /// Asks the machine, and has the answer sent, in the words of `tell`.
    pub fn ask(
        &self,
        (id, command): (u64, Command),
        tell: fn(u64, Result<Answer, CallError>) -> FromNode,
        control: &Control,
        outgoing: &Sender<FromNode>,
    ) {
        let (control, outgoing) = (control.clone(), outgoing.clone());
        let place = Arc::clone(&self.0).try_acquire_owned();
        tokio::spawn(async move {
            let answered = async {
                let answer: Result<Answer, CallError> = match &place {
                    Ok(_) => control.command(command).await,
                    Err(_) => Err(CallError::Refused(ControlError::TooManyCommands(QUESTIONS_MAX))),
                };
                outgoing.send(tell(id, answer)).await
            };
            select! {
                // Without a stream nobody waits for it.
                _ = answered => {}
                () = outgoing.closed() => {}
                () = control.stopping() => {}
            }
        });
    }
}
