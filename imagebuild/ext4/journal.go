package ext4

import "encoding/binary"

const journalMagic = 0xC03B3998

// checkJournal refuses a journal that holds transactions, even where the
// superblock does not say that it needs recovery: they would be replayed, or
// thrown away, over what is written here.
func (f *FS) checkJournal() error {
	if !f.sb.hasCompat(compatHasJournal) || f.sb.journalIno == 0 {
		return nil
	}
	in, err := f.inode(f.sb.journalIno)
	if err != nil {
		return err
	}
	head := make([]byte, 32)
	if n, err := in.readAt(head, 0); err != nil {
		return err
	} else if n < len(head) || binary.BigEndian.Uint32(head) != journalMagic {
		return corrupt("journal", in.ino, 0, "it does not begin with a journal's superblock")
	}
	if binary.BigEndian.Uint32(head[28:]) != 0 {
		return &UnsupportedError{
			Features: []string{"a journal that holds transactions"}, Writing: true, Remedy: "run e2fsck -fy on it first",
		}
	}
	return nil
}
