//! The filesystems that volumes get.

use std::fmt;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filesystem {
    /// The default.
    Ext4,
    /// For large files and many writers.
    Xfs,
    /// With checksums and snapshots of its own.
    Btrfs,
}

impl Filesystem {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ext4, Self::Xfs, Self::Btrfs];

    /// By its name, as Kubernetes and blkid have it; an empty one leaves the choice to us.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::Ext4);
        }
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Filesystem;

    #[test]
    fn names_are_those_of_the_kernel() {
        assert_eq!(Filesystem::named(""), Some(Filesystem::Ext4));
        for one in Filesystem::ALL {
            assert_eq!(Filesystem::named(&one.to_string()), Some(one));
        }
        assert_eq!(Filesystem::named("ntfs"), None);
    }
}
