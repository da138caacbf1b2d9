// Command piimg makes one ready SD-card image for every node of a Raspberry Pi
// cluster, from one stock Raspberry Pi OS image and one nodes.yaml.
package main

import (
	"context"
	"os"
	"os/signal"
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
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
