// Command piimg makes one ready SD-card image for every node of a Raspberry Pi
// cluster, from one stock Raspberry Pi OS image and one nodes.yaml.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// version is set by the release build.
var version string

// endings are the signals that end a command in good order. Under nohup, the
// terminal's end is none.
func endings() []os.Signal {
	all := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		all = append(all, syscall.SIGHUP)
	}
	return all
}

func main() {
	if os.Getenv("GOGC") == "" {
		// Little of what piimg uses is garbage collected: a smaller heap costs no time
		// that could be measured, and a fifth less memory.
		debug.SetGCPercent(25)
	}
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
