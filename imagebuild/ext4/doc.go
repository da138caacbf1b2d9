// Package ext4 reads and edits ext2, ext3 and ext4 file systems in place, in
// plain Go and without mounting them.
//
// # The format, as far as it goes
//
// A file system is cut into groups of blocks. The superblock, at byte 1024,
// holds what is true of the whole: sizes, counters, and three words of feature
// flags (compatible, incompatible, read-only compatible) by which software
// knows whether it may read or write. A table of descriptors after it says of
// each group where its two bitmaps and its table of inodes lie, and how much is
// free. An inode holds a file's owner, mode, times and size, and 60 bytes that
// lead to its blocks: a tree of extents, or in older files pointers and blocks
// of pointers. Directories are files made of entries; large ones have a hash
// index laid over their blocks so that older software sees free space where
// the index is. With metadata_csum every one of these structures carries a
// CRC-32C; with gdt_csum (uninit_bg) the descriptors alone carry a CRC-16.
//
// The format is documented in the Linux kernel under
// Documentation/filesystems/ext4, and by e2fsprogs, whose e2fsck is the judge
// of everything that this package writes.
//
// # How an edit comes about
//
// Blocks of metadata pass through a cache; each operation notes what it changes
// there, makes the checksums right as its last step, and if it fails for want
// of space or because it met a corrupt structure, all of it is taken back.
// [FS.Sync] and [FS.Close] write back the bytes that really differ. The
// contents of files are written straight to the storage. The journal is not
// used for that, and is empty from the beginning: that of a file system which
// was not unmounted cleanly is replayed by [Open], see [FS.Recovery].
//
// Allocation is first fit from a goal that depends on nothing but the file
// system and the order of operations, and times and generation numbers come
// from [Options]; the same edits to the same image give the same bytes.
//
// # What is supported
//
// Reading and writing: 1 to 64 KiB blocks; extents and indirect maps; linear
// and hash-indexed directories (half-MD4, TEA, legacy; signed and unsigned), of
// up to three levels with large_dir; metadata_csum, metadata_csum_seed,
// uninit_bg, 64bit, flex_bg, meta_bg, sparse_super, sparse_super2, huge_file,
// large_file, dir_nlink, extra_isize, orphan_file, resize_inode, and the groups
// and inode tables that mkfs leaves uninitialised. Blocks that are reserved for
// root stay free.
//
// Reading only, by [Options].ReadOnly: inline_data, bigalloc, quota, project,
// mmp, casefold, verity, encrypt (but not what is encrypted), an external
// journal, and file systems in which an error was noted. Nothing is replayed
// then: one that was not unmounted cleanly shows what has reached its place
// before, as of the last checkpoint. Everything unknown among the incompatible
// features is refused even so.
//
// Left as they are: the journal's old contents; the copies of the superblock
// and of the group descriptors, as the kernel leaves them (only [FS.SetLabel]
// and [FS.SetUUID] reach them); the times of the last mount and write; and the
// extended attributes of an edited file, its capabilities too, which the kernel
// would drop.
//
// Extended attributes are read, set and removed in the inode and in its block
// of them. POSIX ACLs go with the permission bits, and are inherited, as the
// kernel has it. Values in inodes of their own (ea_inode) are read, but not
// changed, and a file that has one is not removed.
//
// # Checking
//
// [Check] reads every structure of a file system and compares what it says
// twice: bitmaps with what refers to blocks and inodes, counters with bitmaps,
// link counts with directory entries, hash indexes with the names in their
// leaves, and every checksum. It goes on after a finding, and it neither writes
// nor needs the file system to be one that this package can write. Its verdict
// is that of e2fsck -fn, or stricter where the kernel is. bigalloc,
// shared_blocks and GNU/Hurd's inodes are refused by name; what quota files
// count, and whether casefolded names are in the right encoding and place, is
// left out, as the report says.
//
// # Growing
//
// [FS.Grow] makes a file system larger, up to the size that Open was given. New
// groups keep their structures together in the first of each flex_bg, backups
// follow sparse_super or sparse_super2, and all copies are brought up to date,
// as resize2fs and the kernel's online resizer would leave them. Descriptors
// fill the blocks of the resize inode; when these are used up, or never were
// there, the file system goes over to meta_bg. With metadata_csum or uninit_bg
// new inode tables stay uninitialised, for the kernel to clear in its own time;
// otherwise they are cleared, which costs nothing where the storage reads as zeros.
//
// # Names
//
// Names are paths of io/fs: slash-separated, relative to the file system's
// root, which is "."; but they need not be UTF-8. The methods of io/fs (Open,
// Stat, Lstat, ReadDir, ReadFile, ReadLink) insist on that, as io/fs demands;
// all others also take a leading slash. Symbolic links are followed within the
// file system, as if its root were the system's: no path leads out.
package ext4
