//! What is answered when the host did not do it.

use std::io;

use tonic::{Code, Status};

use crate::system::{ContentFault, FormatFault, MountFault, ProgramFault, RepairFault, TwinFault, UsageFault};

/// One program of the host.
fn of_program(fault: &ProgramFault) -> Code {
    match fault {
        ProgramFault::Stuck { .. } => Code::DeadlineExceeded,
        ProgramFault::Missing { .. } | ProgramFault::Refused { .. } | ProgramFault::Killed { .. } => Code::Internal,
    }
}

impl From<ProgramFault> for Status {
    fn from(fault: ProgramFault) -> Self {
        Self::new(of_program(&fault), fault.to_string())
    }
}

impl From<ContentFault> for Status {
    fn from(fault: ContentFault) -> Self {
        let code = match &fault {
            ContentFault::Program(program) => of_program(program),
            ContentFault::Unreadable { .. } => Code::Unavailable,
            ContentFault::Foreign { .. } => Code::FailedPrecondition,
        };
        Self::new(code, fault.to_string())
    }
}

impl From<FormatFault> for Status {
    fn from(fault: FormatFault) -> Self {
        let code = match &fault {
            FormatFault::Program(program) => of_program(program),
            FormatFault::Mark { .. } => Code::Unavailable,
            FormatFault::Word(_) | FormatFault::Words => Code::InvalidArgument,
        };
        Self::new(code, fault.to_string())
    }
}

impl From<RepairFault> for Status {
    fn from(fault: RepairFault) -> Self {
        let code = match &fault {
            RepairFault::Program(program) => of_program(program),
            RepairFault::Damaged { .. } => Code::Internal,
        };
        Self::new(code, fault.to_string())
    }
}

impl From<MountFault> for Status {
    fn from(fault: MountFault) -> Self {
        let code = match &fault {
            MountFault::Program(program) => of_program(program),
            MountFault::Flag(_) => Code::InvalidArgument,
            MountFault::Table(_) | MountFault::Layers(_) => Code::Internal,
        };
        Self::new(code, fault.to_string())
    }
}

impl From<TwinFault> for Status {
    fn from(fault: TwinFault) -> Self {
        Self::failed_precondition(fault.to_string())
    }
}

impl From<UsageFault> for Status {
    fn from(fault: UsageFault) -> Self {
        let code = match &fault {
            UsageFault::Io(_) => Code::Internal,
            UsageFault::Silent => Code::DeadlineExceeded,
        };
        Self::new(code, fault.to_string())
    }
}

/// A file or folder of the host.
pub(super) fn of_io(what: &str, error: &io::Error) -> Status {
    Status::internal(format!("{what}: {error}"))
}
