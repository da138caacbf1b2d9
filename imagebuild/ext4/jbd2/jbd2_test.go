package jbd2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The check value of CRC-32/MPEG-2, which checksum v1 is.
func TestChecksumV1(t *testing.T) {
	if got := crc32BE(^uint32(0), []byte("123456789")); got != 0x0376E6E7 {
		t.Errorf("%#x", got)
	}
	long := bytes.Repeat([]byte("0123456789abcdef!"), 200)
	if got, want := crc32BE(crc32BE(5, long[:1000]), long[1000:]), slowCRC(5, long); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}

// replayed scans a journal, and returns the log with its writes' contents.
func replayed(data []byte) (*Log, map[uint64]string, error) {
	j, err := Open(reader(data), testBlock, uint32(len(data)/testBlock))
	if err != nil {
		return nil, nil, err
	}
	if j.Empty() {
		return &Log{}, nil, nil
	}
	l, err := j.Scan()
	if err != nil {
		return nil, nil, err
	}
	out := map[uint64]string{}
	p := make([]byte, testBlock)
	for i, w := range l.Writes {
		if err := l.Read(w, p); err != nil {
			return nil, nil, err
		}
		if i > 0 && l.Writes[i-1].Target >= w.Target {
			return nil, nil, fmt.Errorf("writes are not in order: %v", l.Writes)
		}
		out[w.Target] = string(p)
	}
	return l, out, nil
}

// kinds are the formats of a journal.
func kinds() []uint32 {
	var out []uint32
	for _, sums := range []uint32{0, incompatCsumV2, incompatCsumV3} {
		out = append(out, incompatRevoke|sums, incompatRevoke|sums|incompat64Bit)
	}
	return out
}

// TestReplay writes journals and compares what they say with a model of what
// was written and revoked when; the last transaction may be torn.
func TestReplay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks := rapid.IntRange(12, 300).Draw(t, "blocks")
		incompat := rapid.SampledFrom(kinds()).Draw(t, "features")
		v1 := incompat&(incompatCsumV2|incompatCsumV3) == 0 && rapid.Bool().Draw(t, "checksum v1")
		if rapid.Bool().Draw(t, "async_commit") {
			incompat |= incompatAsyncCommit
		}
		start := uint32(rapid.IntRange(1, blocks-1).Draw(t, "start"))
		sequence := rapid.SampledFrom([]uint32{1, 77, 0xFFFFFFFE}).Draw(t, "sequence")
		w := newWriter(blocks, incompat, v1, start, sequence)
		targets := []uint64{0, 1, 2, 3, 5, 8, 13, 21, 34, 1 << 31}
		if w.wide() {
			targets = append(targets, 1<<32, 1<<32+1, 1<<40+3)
		}

		want := map[uint64]string{}
		revoked := 0
		history := map[uint64]int{} // how many tags count that a revoke record would take away
		left := blocks - 2
		transactions := 0
		for left > 3 {
			kind := rapid.SampledFrom([]string{"whole", "whole", "whole", "no commit", "torn commit", "end"}).Draw(t, "transaction")
			if kind == "end" {
				break
			}
			wantBefore, revokedBefore := maps.Clone(want), revoked
			var list []content
			for range rapid.IntRange(0, min(left-3, 70)).Draw(t, "writes") {
				c := content{rapid.SampledFrom(targets).Draw(t, "target"), bytes.Repeat([]byte{byte(rapid.IntRange(0, 255).Draw(t, "byte"))}, testBlock)}
				if rapid.Bool().Draw(t, "escaped") {
					binary.BigEndian.PutUint32(c.data, magic)
				}
				list = append(list, c)
			}
			for need(w, list) > left-3 && len(list) > 0 {
				list = list[1:]
			}
			gone := rapid.SliceOfN(rapid.SampledFrom(targets), 0, 4).Draw(t, "revoked")
			if len(gone) > 0 && rapid.Bool().Draw(t, "revoked first") {
				w.revoke(gone)
				w.write(list)
			} else {
				w.write(list)
				if len(gone) > 0 {
					w.revoke(gone)
				}
			}
			left -= need(w, list) + 2
			for _, c := range list {
				want[c.target] = string(c.data)
				history[c.target]++
			}
			// A revoke record takes back its own transaction's writes, too.
			for _, target := range gone {
				delete(want, target)
				revoked += history[target]
				delete(history, target)
			}
			if kind == "whole" {
				transactions++
				w.commit()
				continue
			}
			if kind == "torn commit" && incompat&incompatAsyncCommit != 0 && (v1 || w.sums()) {
				w.data[int(w.commit())*testBlock+commitChecksum] ^= 1
			}
			want, revoked = wantBefore, revokedBefore
			break
		}
		l, got, err := replayed(w.data)
		if err != nil {
			t.Fatal(err)
		}
		for target, data := range want {
			if got[target] != data {
				t.Errorf("block %d is %.8q, want %.8q", target, got[target], data)
			}
		}
		if len(got) != len(want) || l.Transactions != transactions || l.Revoked != revoked {
			t.Errorf("%d blocks of %d transactions, %d revoked; want %d of %d, %d", len(got), l.Transactions, l.Revoked, len(want), transactions, revoked)
		}
		j, err := Open(reader(append(slices.Clone(l.Superblock), w.data[superblockSize:]...)), testBlock, uint32(blocks))
		if err != nil || !j.Empty() || j.sequence != sequence+uint32(transactions)+1 {
			t.Errorf("the emptied journal: %+v, %v", j, err)
		}
	})
}

// need is how many blocks the list takes.
func need(w *writer, list []content) int {
	return len(list) + (len(list)+w.perDescriptor()-1)/w.perDescriptor()
}

// three is a journal of three transactions, from block 1 on: a descriptor, data
// and the commit block of each.
func three(incompat uint32, v1 bool) *writer {
	w := newWriter(64, incompat, v1, 1, 10)
	for i := range 3 {
		w.write([]content{{uint64(100 + i), bytes.Repeat([]byte{byte(i + 1)}, testBlock)}})
		w.commit()
	}
	return w
}

// TestDamaged damages one byte of a journal, in each kind of block.
func TestDamaged(t *testing.T) {
	const v3, v2 = incompatCsumV3, incompatCsumV2
	for _, c := range []struct {
		name         string
		incompat     uint32
		v1           bool
		block, off   int
		transactions int    // that are found
		want         string // of the error, if there is one
	}{
		{"v3 data", v3, false, 5, 500, 0, "block 5: checksum is wrong, of what is to be block 101"},
		{"v2 data", v2, false, 8, 500, 0, "block 8: checksum is wrong"},
		{"v3 descriptor", v3, false, 4, 14, 0, "block 4: checksum is wrong, of a transaction that was committed"},
		{"v3 commit", v3, false, 6, 60, 0, "block 6: checksum of transaction 11"},
		{"v3 last commit", v3, false, 9, 60, 0, "block 9: checksum of transaction 12"},
		{"async, last commit", v3 | incompatAsyncCommit, false, 9, 60, 2, ""},
		{"async, commit in the middle", v3 | incompatAsyncCommit, false, 6, 60, 0, "block 6: checksum of a transaction is wrong, and more"},
		{"v1 data", 0, true, 5, 500, 0, "block 6: checksum of transaction 11"},
		{"v1 async, data in the middle", incompatAsyncCommit, true, 5, 500, 0, "block 6: checksum of a transaction is wrong, and more"},
		{"v1 async, last data", incompatAsyncCommit, true, 8, 500, 2, ""},
		{"header", v3, false, 6, 0, 1, ""},
		{"number", v3, false, 7, 11, 2, ""},
		{"kind", v3, false, 4, 7, 1, ""},
		{"nothing notices", 0, false, 5, 500, 3, ""},
		{"superblock", v3, false, 0, 0x45, 0, "block 0: checksum is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := three(c.incompat, c.v1)
			w.data[c.block*testBlock+c.off] ^= 0x40
			l, _, err := replayed(w.data)
			var damaged *CorruptError
			switch {
			case c.want != "" && (!errors.As(err, &damaged) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want a CorruptError with %q", err, c.want)
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want == "" && l.Transactions != c.transactions:
				t.Errorf("%d transactions, want %d", l.Transactions, c.transactions)
			}
		})
	}
}

// TestFormerJournal finds the last transaction damaged, and older than the one
// before it: it is of a journal that was here before.
func TestFormerJournal(t *testing.T) {
	for _, block := range []int{7, 9} { // the descriptor, the commit block
		w := three(incompatCsumV3, false)
		w.data[block*testBlock+16] ^= 1
		binary.BigEndian.PutUint64(w.data[9*testBlock+commitSeconds:], 5)
		if l, _, err := replayed(w.data); err != nil || l.Transactions != 2 {
			t.Errorf("%+v, %v", l, err)
		}
	}
}

// TestRing has transactions that run into each other: none of that may go on for ever.
func TestRing(t *testing.T) {
	w := newWriter(12, 0, false, 1, 1)
	for range 5 { // without end, and without a commit block
		w.write([]content{{7, make([]byte, testBlock)}})
	}
	w.write([]content{{8, make([]byte, testBlock)}})
	if l, got, err := replayed(w.data); err != nil || l.Transactions != 0 || len(got) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestVersion1 reads a superblock of version 1, whose features mean nothing.
func TestVersion1(t *testing.T) {
	w := three(0, false)
	binary.BigEndian.PutUint32(w.data[4:], kindSuperblockV1)
	binary.BigEndian.PutUint32(w.data[sbIncompat:], 0xFFFFFFFF)
	if l, got, err := replayed(w.data); err != nil || l.Transactions != 3 || len(got) != 3 {
		t.Errorf("%+v, %v", l, err)
	}
}

// TestFastCommits finds fast commits behind the last transaction, and older ones.
func TestFastCommits(t *testing.T) {
	for tid, refused := range map[uint32]bool{13: true, 12: false, 0: false} {
		w := newWriter(1200, incompatFastCommit, false, 1, 10)
		binary.BigEndian.PutUint32(w.data[sbFastBlocks:], 100)
		for range 3 {
			w.commit()
		}
		head := w.data[1101*testBlock:]
		binary.LittleEndian.PutUint16(head, fastHeadTag)
		binary.LittleEndian.PutUint16(head[2:], fastHeadSize)
		binary.LittleEndian.PutUint32(head[8:], tid)
		_, _, err := replayed(w.data)
		var unsupported *UnsupportedError
		if errors.As(err, &unsupported) != refused {
			t.Errorf("fast commit of transaction %d: %v", tid, err)
		}
	}
}

// FuzzJournal hands any bytes to Open and Scan.
func FuzzJournal(f *testing.F) {
	for _, kind := range kinds() {
		w := newWriter(24, kind, false, 20, 3)
		w.write([]content{{1, make([]byte, testBlock)}, {2, bytes.Repeat([]byte{0xC0, 0x3B, 0x39, 0x98}, testBlock/4)}})
		w.revoke([]uint64{2, 3})
		w.commit()
		w.write([]content{{2, make([]byte, testBlock)}})
		w.commit()
		f.Add(w.data)
	}
	f.Add(three(incompatAsyncCommit, true).data)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, _, err := replayed(data)
		if err == nil && len(l.Writes) > len(data)/testBlock {
			t.Errorf("%d writes from %d blocks", len(l.Writes), len(data)/testBlock)
		}
	})
}
