//! Getting an io_uring from the kernel, or saying in words why there is none.

use std::fs;
use std::io;

use io_uring::{IoUring, opcode};
use rustix::io::Errno;

/// Entries of both queues where little memory may be locked: more completions than these overflow into memory of the
/// kernel's own, which is slower and loses none.
const SMALL: (u32, u32) = (64, 256);

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The kernel, or a sandbox, does not know the call.
    #[error(
        "io_uring is missing: kernel {release} answers \"not implemented\". Plinth needs Linux 5.19 or newer with \
         CONFIG_IO_URING; in a container, allow io_uring_setup, io_uring_enter and io_uring_register in its seccomp profile"
    )]
    Missing {
        /// Of the running kernel.
        release: String,
    },
    /// The administrator has switched it off.
    #[error(
        "io_uring is switched off: kernel.io_uring_disabled is {value}, 0 is needed (1 is enough for a user in the group \
         kernel.io_uring_group or with CAP_SYS_ADMIN). Run: sysctl -w kernel.io_uring_disabled=0"
    )]
    Disabled {
        /// Of the sysctl.
        value: String,
    },
    /// Something else refuses it.
    #[error(
        "io_uring is forbidden here, and not by kernel.io_uring_disabled: most likely a container's seccomp profile. \
         Allow io_uring_setup, io_uring_enter and io_uring_register in it"
    )]
    Forbidden,
    /// The kernel's io_uring is older than what we use.
    #[error("io_uring of kernel {release} lacks {lacks}: Plinth needs Linux 5.19 or newer")]
    TooOld {
        /// Of the running kernel.
        release: String,
        /// What was looked for.
        lacks: &'static str,
    },
    /// Not enough of something.
    #[error(
        "io_uring could not be set up: {source}. If it is \"cannot allocate memory\", raise RLIMIT_MEMLOCK (ulimit -l); if \
         \"too many open files\", raise RLIMIT_NOFILE (ulimit -n)"
    )]
    Failed {
        /// What the kernel said.
        source: io::Error,
    },
}

/// Sets a ring up for this thread, with the best flags the kernel takes, a table of `files` registered files, and room
/// for so many entries in its queues.
pub(crate) fn set_up(files: u32, submissions: u32, completions: u32) -> Result<IoUring, RingError> {
    let uring = build(submissions, completions)?;
    if !(uring.params().is_feature_ext_arg() && uring.params().is_feature_nodrop()) {
        return Err(RingError::TooOld { release: release(), lacks: "waiting with a timeout" });
    }
    check_operations(&uring)?;
    match uring.submitter().register_files_sparse(files) {
        Ok(()) => Ok(uring),
        Err(error) if is(&error, Errno::INVAL) => {
            Err(RingError::TooOld { release: release(), lacks: "sparse tables of registered files" })
        }
        Err(source) => Err(RingError::Failed { source }),
    }
}

/// A ring with the best flags the kernel takes, of the size we want or of one that fits a limit on locked memory.
fn build(submissions: u32, completions: u32) -> Result<IoUring, RingError> {
    let (mut size, mut deferred) = ((submissions, completions), true);
    loop {
        let (submissions, completions) = size;
        let mut builder = IoUring::builder();
        builder.setup_cqsize(completions).setup_clamp().setup_submit_all().setup_coop_taskrun().setup_taskrun_flag();
        if deferred {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        match builder.build(submissions) {
            Ok(uring) => return Ok(uring),
            Err(error) if is(&error, Errno::INVAL) && deferred => {
                tracing::info!(kernel = release(), "no DEFER_TASKRUN in this kernel's io_uring: slower than Linux 6.1");
                deferred = false;
            }
            Err(error) if is(&error, Errno::NOMEM) && size != SMALL => {
                tracing::info!("RLIMIT_MEMLOCK (ulimit -l) leaves room for small queues only, which costs some speed");
                size = SMALL;
            }
            Err(error) => return Err(refusal(error)),
        }
    }
}

fn refusal(error: io::Error) -> RingError {
    match Errno::from_io_error(&error) {
        Some(Errno::NOSYS) => RingError::Missing { release: release() },
        Some(Errno::INVAL) => RingError::TooOld { release: release(), lacks: "COOP_TASKRUN" },
        Some(Errno::PERM | Errno::ACCESS) => match switched_off() {
            Some(value) => RingError::Disabled { value },
            None => RingError::Forbidden,
        },
        _ => RingError::Failed { source: error },
    }
}

fn check_operations(uring: &IoUring) -> Result<(), RingError> {
    let mut probe = io_uring::Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(|source| RingError::Failed { source })?;
    let needed = [
        (opcode::Accept::CODE, "ACCEPT"),
        (opcode::Recv::CODE, "RECV"),
        (opcode::Send::CODE, "SEND"),
        (opcode::SendMsg::CODE, "SENDMSG"),
        (opcode::Read::CODE, "READ"),
        (opcode::Write::CODE, "WRITE"),
        (opcode::Fsync::CODE, "FSYNC"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, lacks)) => Err(RingError::TooOld { release: release(), lacks }),
        None => Ok(()),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

/// The value of `kernel.io_uring_disabled` when it is not 0.
fn switched_off() -> Option<String> {
    let value = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    let value = value.trim();
    (value != "0").then(|| value.to_owned())
}

fn release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::{RingError, refusal};

    #[test]
    fn a_refusal_is_told_by_its_cause() {
        let of = |errno: Errno| refusal(io::Error::from(errno));
        assert!(matches!(of(Errno::NOSYS), RingError::Missing { .. }));
        assert!(matches!(of(Errno::INVAL), RingError::TooOld { .. }));
        assert!(matches!(of(Errno::PERM), RingError::Forbidden | RingError::Disabled { .. }));
        assert!(matches!(of(Errno::NOMEM), RingError::Failed { .. }));
    }
}
