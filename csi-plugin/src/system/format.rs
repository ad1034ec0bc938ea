//! New filesystems, of features that kernels of some years ago can read.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::content::Content;
use super::filesystem::Filesystem;
use super::mark::{remove_mark, set_mark};
use super::program::{self, ProgramFault};

/// How long mkfs may take.
const FORMAT_MAX: Duration = Duration::from_secs(600);
/// How long a program may take to tell its version.
const VERSION_MAX: Duration = Duration::from_secs(10);
/// Words of a StorageClass for mkfs: how many, and how long.
const WORDS_MAX: usize = 32;
const WORD_BYTES_MAX: usize = 256;

/// Features of ext4 that e2fsprogs 1.43 and Linux 3.18 know; `none` first, so that newer defaults are not added.
const EXT4_FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                             sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Version MAJOR.MINOR of a program.
type Version = (u32, u32);

/// Features of xfs that are on by default since some version of xfsprogs and that older kernels refuse: the version that
/// first knows the word, its option, the word.
const XFS_FEATURES: [(Version, &str, &str); 5] = [
    // Linux 5.10
    ((5, 10), "-m", "bigtime=0"),
    ((5, 10), "-m", "inobtcount=0"),
    // Linux 5.19
    ((5, 19), "-i", "nrext64=0"),
    // Linux 6.10
    ((6, 10), "-i", "exchange=0"),
    ((6, 10), "-n", "parent=0"),
];

/// The same of btrfs, whose program tells which words it knows.
const BTRFS_FEATURES: [&str; 2] = [
    // Linux 6.1
    "block-group-tree",
    // Linux 6.7
    "raid-stripe-tree",
];

/// Why there is no filesystem.
#[derive(Debug, thiserror::Error)]
pub enum FormatFault {
    /// mkfs.
    #[error(transparent)]
    Program(#[from] ProgramFault),
    /// The mark that says so meanwhile.
    #[error("cannot note on {} that it is being formatted: {source}", device.display())]
    Mark {
        /// The device.
        device: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The words of the StorageClass.
    #[error(
        "the mkfs option {0:?} is not allowed: options are words of letters, digits and _=,.^:+- and name no files"
    )]
    Word(String),
    /// Too many of them.
    #[error("there are more than {WORDS_MAX} mkfs options")]
    Words,
}

/// Refuses words for mkfs that could name a file, or more than one word at once.
///
/// # Errors
/// See [`FormatFault`].
pub fn check_words(words: &[String]) -> Result<(), FormatFault> {
    if words.len() > WORDS_MAX {
        return Err(FormatFault::Words);
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_=,.^:+-".contains(&byte);
    let good = |word: &&String| !word.is_empty() && word.len() <= WORD_BYTES_MAX && word.bytes().all(allowed);
    match words.iter().find(|word| !good(word)) {
        Some(word) => Err(FormatFault::Word(word.chars().take(WORD_BYTES_MAX).collect())),
        None => Ok(()),
    }
}

/// Makes a filesystem on a device that holds nothing, which `found` proves. The programs open it exclusively: none of
/// them writes beside another one, or below a mount.
///
/// # Errors
/// See [`FormatFault`]. What is there then says that it is unfinished.
pub async fn format(
    device: &Path,
    filesystem: Filesystem,
    found: &Content,
    words: &[String],
) -> Result<(), FormatFault> {
    check_words(words)?;
    let again = match found {
        Content::Blank => false,
        Content::Unfinished => true,
        Content::Whole(..) => unreachable!("callers format only what holds nothing"),
    };
    let (program, mut arguments) = match filesystem {
        Filesystem::Ext4 => ("mkfs.ext4", ext4()),
        Filesystem::Xfs => ("mkfs.xfs", xfs().await?),
        Filesystem::Btrfs => ("mkfs.btrfs", btrfs().await?),
    };
    // Without it the programs look for themselves, and refuse what is not blank: one more look costs nothing.
    arguments.extend(again.then(|| if filesystem == Filesystem::Ext4 { "-F" } else { "-f" }.to_owned()));
    arguments.extend_from_slice(words);
    let arguments: Vec<&Path> = arguments.iter().map(Path::new).chain([device]).collect();
    let marking = |source| FormatFault::Mark { device: device.to_owned(), source };
    set_mark(device).await.map_err(marking)?;
    program::insist(program, &arguments, FORMAT_MAX).await?;
    remove_mark(device).await.map_err(marking)
}

/// Blocks of 4 KiB, also on small volumes; none are kept for root. What is not discarded was never written.
fn ext4() -> Vec<String> {
    ["-q", "-b", "4096", "-m", "0", "-E", "nodiscard", "-O", EXT4_FEATURES].map(str::to_owned).to_vec()
}

async fn xfs() -> Result<Vec<String>, ProgramFault> {
    let told = program::run("mkfs.xfs", ["-V"], VERSION_MAX).await?;
    // Of a version that cannot be read nothing is known; its defaults have to do.
    let version = version(&told.printed).unwrap_or_default();
    let known = XFS_FEATURES.iter().filter(|(since, ..)| *since <= version);
    let words = known.flat_map(|(_, option, word)| [*option, *word]);
    Ok(["-K", "-q"].into_iter().chain(words).map(str::to_owned).collect())
}

async fn btrfs() -> Result<Vec<String>, ProgramFault> {
    let told = program::run("mkfs.btrfs", ["-O", "list-all"], VERSION_MAX).await?;
    let is_known = |feature: &&&str| [&told.printed, &told.said].iter().any(|text| text.contains(**feature));
    let words = BTRFS_FEATURES.iter().filter(is_known).flat_map(|feature| ["-O".to_owned(), format!("^{feature}")]);
    Ok(["-K", "-q", "-s", "4096"].into_iter().map(str::to_owned).chain(words).collect())
}

/// `mkfs.xfs version 6.1.0`.
fn version(told: &str) -> Option<Version> {
    told.split_whitespace().find_map(number)
}

fn number(word: &str) -> Option<Version> {
    let mut parts = word.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts.next()?.chars().take_while(char::is_ascii_digit).collect();
    Some((major, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{check_words, version};

    #[test]
    fn a_version_is_read_as_the_program_tells_it() {
        assert_eq!(version("mkfs.xfs version 6.1.0"), Some((6, 1)));
        assert_eq!(version("mkfs.xfs version 6.16-rc1"), Some((6, 16)));
        assert_eq!(version("nothing"), None);
    }

    #[test]
    fn options_name_no_files() {
        let words = |words: &[&str]| check_words(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert!(words(&["-i", "size=512", "-O", "^has_journal", "-L", "data-1"]).is_ok());
        for bad in ["/etc/passwd", "a b", "", "options=/x", "$(x)", "a\nb", "ä", &"x".repeat(300)] {
            assert!(words(&["-i", bad]).is_err(), "{bad:?}");
        }
        assert!(words(&["-x"; 33]).is_err());
    }
}
