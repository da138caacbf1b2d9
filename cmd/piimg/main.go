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

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
