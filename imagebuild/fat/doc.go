// Package fat reads and edits FAT16 and FAT32 file systems in place.
//
// It is built on go-diskfs, and does itself what go-diskfs gets wrong. As
// go-diskfs's own fat16 and fat32 packages do, it puts a FAT of its own (see
// [fat12.FATTable]) and a layout under a [fat12.FileSystem]:
//
//   - go-diskfs reads the BIOS parameter block, writes the copies of the FAT and
//     says when FSInfo is due, and defines the interfaces of the storage below
//     and the file system above;
//   - this package validates everything before anything is trusted, keeps the
//     FAT and FSInfo, and reads and edits directories and files.
//
// The reason for the second half: go-diskfs v1.9.4 rewrites a whole directory for
// every change of an entry, and loses what it does not know of the others
// (hundredths of seconds, attributes, names outside the basic plane or in a code
// page, deleted entries), or panics if the directory gets shorter. It doesn't
// free the clusters of removed files, allocates clusters that lie past the end,
// ends chains with a mark that is none if the file system is dirty, gives
// colliding short names, and takes its times from the clock. When it reads, it
// assumes two FATs and the root directory in cluster 2, fails on files without a
// cluster (which is what an empty file is), goes past the end of a file after a
// seek, and takes a failed read for data.
//
// [Check] finds what is wrong with a file system and goes on where [Open] gives up;
// it knows FAT12, too.
//
// Formats: Microsoft's "FAT: General Overview of On-Disk Format" (2000), and what
// Linux, mtools and dosfstools do where that is silent. Times on disk are taken
// for UTC. Names are compared without regard to case, the long one first, then
// the short one.
package fat
