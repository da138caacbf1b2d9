//go:build unix

package hostfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Between fork and exec, a program that is started has all files of this process open:
// a lock that is released meanwhile is released for all.
func TestUnlock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	f := open()
	if ok, err := TryLock(f); !ok || err != nil {
		t.Fatalf("locked: %v, %v", ok, err)
	}
	if ok, err := TryLock(open()); ok || err != nil {
		t.Fatalf("locked twice: %v, %v", ok, err)
	}
	child, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if err := Unlock(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if ok, err := TryLock(open()); !ok || err != nil {
		t.Errorf("after it was unlocked: %v, %v", ok, err)
	}
}
