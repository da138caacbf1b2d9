package imagebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

// peak returns the most memory, in bytes, that the process had while fn ran, beyond
// what it had before.
func peak(t *testing.T, fn func()) int64 {
	t.Helper()
	status := func(name string) (kib int64) {
		for line := range strings.Lines(string(read(t, "/proc/self/status"))) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				_, _ = fmt.Sscan(rest, &kib)
			}
		}
		return kib
	}
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil { // sets VmHWM to VmRSS
		t.Skip("no way to see this process's memory: ", err)
	}
	before := status("VmRSS")
	fn()
	return (status("VmHWM") - before) << 10
}

// What the earlier images are read with, to replace them and to compare with them, does
// not grow with the jobs.
func TestBuiltMemory(t *testing.T) {
	const nodes = 8
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIBqlpCH0Bmm0oxhsgmuVgPqTCm7a4Twqoq9Csbt5uJG"
	o := project(t, "stretch")
	var config strings.Builder
	config.WriteString("image: {path: base.img.xz}\ncluster: {name: villagers}\nnodes:\n")
	for i := range nodes {
		fmt.Fprintf(&config, "  - {hostname: n%d, role: plain, ip: dhcp, user: {authorizedKeys: [%s]}}\n", i, key)
	}
	write(t, o.NodesFile, []byte(config.String()))
	o.Format = FormatXZ
	if _, err := Build(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	compare := func(what string, do func(jobs int)) {
		t.Helper()
		one := peak(t, func() { do(1) })
		many := peak(t, func() { do(nodes) })
		t.Logf("%s: %d MiB with one job, %d MiB with %d", what, one>>20, many>>20, nodes)
		if many > one+builtAtOnce*builtMemory || many > 256<<20 { // which the README says
			t.Errorf("%s takes %d MiB with one job, and %d MiB with %d", what, one>>20, many>>20, nodes)
		}
	}
	compare("to replace", func(jobs int) {
		o.Jobs = jobs
		p, err := load(t.Context(), o.withDefaults())
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(checkOutputs(t.Context(), p, o.withDefaults()), p.close()); err != nil {
			t.Fatal(err)
		}
	})
	write(t, o.NodesFile, bytes.Replace(read(t, o.NodesFile), []byte("nodes:"), []byte("defaults: {timezone: Europe/Berlin}\nnodes:"), 1))
	o.CheckAgainst, o.Out = o.Out, o.Out+"2"
	compare("to compare with", func(jobs int) {
		o.Jobs = jobs
		var differs *DifferenceError
		if _, err := Build(t.Context(), o); !errors.As(err, &differs) {
			t.Fatalf("got %v", err)
		}
	})
}

// Images whose blocks are as large as a base's may be are read without being unpacked:
// they hold secrets, which nobody looks for in the cache folder.
func TestBuiltNotUnpacked(t *testing.T) {
	tooltest.Need(t, "xz")
	o := project(t, "stretch")
	o.Format, o.Only = FormatXZ, []string{"tom-nook"}
	raw := unpack(t, o)
	run(t, "xz", "-0", "-T1", "--block-size=47MiB", "--force", "--suffix=.xz", raw)
	for range 2 {
		if _, err := Build(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	if p := problems(t, o); p != "" {
		t.Error(p)
	}
	unpacked, err := filepath.Glob(filepath.Join(o.CacheDir, "unpacked", "*.img"))
	if err != nil || len(unpacked) > 0 {
		t.Errorf("unpacked: %q, %v", unpacked, err)
	}
}

// Whoever interrupts a build need not wait until all images that are there were read.
func TestReplaceInterrupted(t *testing.T) {
	o := buildOne(t).withDefaults()
	p, err := load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := checkOutputs(ctx, p, o); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
