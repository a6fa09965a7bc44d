//! On which file systems a database may be: those whose locks hold for everyone who can reach the
//! file.

/// The kind of a file system (`statfs(2)`, `f_type`) that several machines may have mounted, or
/// whose locks are its driver's own affair.
pub(super) fn shared(kind: u64) -> Option<&'static str> {
    SHARED.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// Numbers of `linux/magic.h` and of the drivers themselves.
const SHARED: [(u64, &str); 20] = [
    (0x6969, "NFS"),
    (0x517B, "SMB"),
    (0xFE53_4D42, "SMB"),
    (0xFF53_4D42, "CIFS"),
    (0x0102_1997, "9P"),
    (0x6573_5546, "FUSE"),
    (0x00C3_6400, "Ceph"),
    (0x5346_414F, "AFS"),
    (0x6B41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x564C, "NCP"),
    (0x7461_636F, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x0BD0_0BD0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xAAD7_AAEA, "PanFS"),
    (0x2003_0528, "OrangeFS"),
    (0x786F_4256, "a shared folder of VirtualBox"),
    (0xBACB_ACBC, "a shared folder of VMware"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_of_several_machines_are_told_from_local_ones() {
        for (kind, name) in
            [(0x6969, "NFS"), (0xFF53_4D42, "CIFS"), (0x6573_5546, "FUSE"), (0x0102_1997, "9P")]
        {
            assert_eq!(shared(kind), Some(name));
        }
        // ext4, XFS, Btrfs, ZFS, F2FS, tmpfs, overlayfs, bcachefs
        for local in [
            0xEF53,
            0x5846_5342,
            0x9123_683E,
            0x2FC1_2FC1,
            0xF2F5_2010,
            0x0102_1994,
            0x794C_7630,
            0xCA45_1A4E,
        ] {
            assert_eq!(shared(local), None, "{local:x}");
        }
    }
}
