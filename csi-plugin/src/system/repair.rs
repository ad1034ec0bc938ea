//! Checks of a filesystem before it is mounted.

use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;

use super::filesystem::Filesystem;
use super::program::{self, ProgramFault};

/// How long a check may take: with a clean journal it is milliseconds.
const CHECK_MAX: Duration = Duration::from_secs(1800);
/// How long one that could not begin waits before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a filesystem is not fit to be mounted.
#[derive(Debug, thiserror::Error)]
pub enum RepairFault {
    /// e2fsck.
    #[error(transparent)]
    Program(#[from] ProgramFault),
    /// It found what it does not mend by itself.
    #[error("the filesystem is damaged, and only a person may decide how to mend it (e2fsck -f on the device): {said}")]
    Damaged {
        /// What it said.
        said: String,
    },
}

/// Replays a journal and mends what is mended safely, of a filesystem that nobody has mounted and that may be written.
/// Those of xfs and btrfs do that when they are mounted, and have no safe repair.
///
/// # Errors
/// See [`RepairFault`].
pub async fn repair(device: &Path, filesystem: Filesystem) -> Result<(), RepairFault> {
    match filesystem {
        Filesystem::Ext4 => {}
        Filesystem::Xfs | Filesystem::Btrfs => return Ok(()),
    }
    // It opens the device exclusively, and so fails when something is mounted after all.
    let arguments = [Path::new("-p"), device];
    let checked = program::run("e2fsck", arguments, CHECK_MAX).await?;
    // It could not begin, perhaps because somebody had the device for an instant: see [`program::insist`].
    if checked.code == 8 {
        sleep(PAUSE).await;
        return judge(program::run("e2fsck", arguments, CHECK_MAX).await?);
    }
    judge(checked)
}

/// The exit code is a sum: 1 mended, 2 mended and a mounted root wants a restart, 4 damage is left, 8 the program failed,
/// 16 used wrongly, 32 stopped, 128 a library is missing.
fn judge(checked: program::Finished) -> Result<(), RepairFault> {
    match checked.code {
        0..=3 => Ok(()),
        code if code & 4 != 0 => {
            let said = [checked.printed, checked.said].join(" ").trim().to_owned();
            Err(RepairFault::Damaged { said })
        }
        _ => Err(checked.refused("e2fsck").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::{RepairFault, judge, program::Finished};

    #[test]
    fn every_exit_code_is_judged() {
        let verdict = |code| judge(Finished { code, printed: "found".into(), said: String::new() });
        for good in [0, 1, 2, 3] {
            assert!(verdict(good).is_ok(), "{good}");
        }
        for damaged in [4, 5, 12, 4 + 32] {
            assert!(matches!(verdict(damaged), Err(RepairFault::Damaged { .. })), "{damaged}");
        }
        for failed in [8, 16, 32, 128, -1, 9] {
            assert!(matches!(verdict(failed), Err(RepairFault::Program(_) | RepairFault::Damaged { .. })), "{failed}");
        }
        assert!(matches!(verdict(8), Err(RepairFault::Program(_))));
    }
}
