//! The host side of the CSI plugin on real filesystems: loop devices, as root.

mod formats;
mod loops;
mod mounts;
