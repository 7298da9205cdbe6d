//! Which file systems are refused, because other machines or another kernel may change their files.
//!
//! There, `flock` may hold only on one machine, or not at all, and the shared memory of SQLite's write-ahead log does
//! not work. A FUSE file system may be local, but nothing shows whether it is, so all are refused. Cluster file systems
//! are refused as well, because their shared memory is not shared between machines. Only Linux and Android tell the
//! type; elsewhere, nothing is refused.

use std::fs::File;
use std::io;

/// The name of the file system of a directory, if it is refused.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn refused(directory: &File) -> io::Result<Option<&'static str>> {
    // The magic numbers have 32 bits. Some platforms extend their sign.
    Ok(refused_name(rustix::fs::fstatfs(directory)?.f_type as u32))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn refused(_: &File) -> io::Result<Option<&'static str>> {
    Ok(None)
}

/// The name of a refused file system with this magic number: see `statfs(2)`.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), allow(dead_code))]
pub(crate) fn refused_name(magic: u32) -> Option<&'static str> {
    let name = match magic {
        0x6969 => "NFS",
        0x517B => "SMB",
        0xFE53_4D42 => "SMB2",
        0xFF53_4D42 => "CIFS",
        0x5346_414F | 0x6B41_4653 => "AFS",
        0x7375_7245 => "Coda",
        0x564C => "NCP",
        0x0102_1997 => "9P",
        0x00C3_6400 => "Ceph",
        0x0BD0_0BD0 => "Lustre",
        0x4750_4653 => "GPFS",
        0x1983_0326 => "BeeGFS",
        0x2003_0528 => "OrangeFS",
        0x0116_1970 => "GFS2",
        0x7461_636F => "OCFS2",
        0x786F_4256 => "vboxsf",
        0xBACB_ACBC => "vmhgfs",
        0x6573_5546 => "FUSE",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::refused_name;

    #[test]
    fn network_file_systems_are_refused_and_local_ones_are_not() {
        // NFS, SMB2, CIFS, 9P, Ceph, FUSE, as in <linux/magic.h>.
        for magic in [0x6969, 0xFE53_4D42, 0xFF53_4D42, 0x0102_1997, 0x00C3_6400, 0x6573_5546] {
            assert!(refused_name(magic).is_some(), "{magic:#x}");
        }
        // ext4, btrfs, XFS, tmpfs, overlayfs, ZFS, F2FS.
        for magic in
            [0xEF53, 0x9123_683E, 0x5846_5342, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1, 0xF2F5_2010]
        {
            assert_eq!(refused_name(magic), None, "{magic:#x}");
        }
    }
}
