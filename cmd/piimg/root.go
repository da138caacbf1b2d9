package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

// exitInterrupted is what a shell reports of a program that Ctrl-C ended.
const exitInterrupted = 130

const exitCodes = `Exit codes:
  0    done
  1    an error of no other kind
  2    wrong usage
  3    nodes.yaml, a file or variable that it names, or the secrets
  4    the base image: missing, damaged, or of another system
  5    a plan that cannot be applied, for want of room in the image for example
  6    the output folder: read-only, full, or holding other files
  7    check or verify has found something wrong, or a build differs (--check-against)
  130  interrupted`

// app is what the commands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	quiet, json    bool
}

// execute runs the command line args and returns the exit code. Results go to
// stdout; messages, progress and errors to stderr.
func execute(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	return a.report(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:     "piimg",
		Version: versionString(),
		Short:   "One ready Raspberry Pi OS image for every node of a cluster",
		Long: `piimg takes one stock Raspberry Pi OS image and one nodes.yaml, and makes one
ready image for every node: host name, user, keys, network and swap are set
before the card is in the Pi. It needs no root, no loop device and no VM.

` + exitCodes,
		Example: `  piimg build --nodes nodes.yaml
  piimg plan --node isabelle
  piimg inspect 2024-11-19-raspios-bookworm-arm64-lite.img.xz
  piimg verify dist`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noCommand,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w; see '%s --help'", err, c.CommandPath()))
	})
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	root.AddCommand(a.buildCommand(), a.planCommand(), a.inspectCommand(), a.checkCommand(), a.verifyCommand(), a.artifactsCommand(), a.cacheCommand(), a.secretsCommand(), a.schemaCommand(), a.versionCommand())
	root.InitDefaultCompletionCmd()
	return root
}

// noCommand refuses a command that there is not, with the exit code of wrong usage.
func noCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see 'piimg --help'"
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %s?", strings.Join(near, " or "))
	}
	return usageError(fmt.Errorf("unknown command %q; %s", args[0], hint))
}

// noArgs refuses arguments, with the exit code of wrong usage.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Errorf("%s takes no arguments, but got %q; see '%s --help'", c.CommandPath(), args[0], c.CommandPath()))
	}
	return nil
}

func usageError(err error) error {
	return &imagebuild.Error{Kind: imagebuild.KindUsage, Err: err}
}

// report prints err as the user should see it, and returns its exit code.
func (a *app) report(err error) int {
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(a.stderr, "piimg: interrupted; nothing was left half-done")
		return exitInterrupted
	}
	fmt.Fprintf(a.stderr, "piimg: %v\n", err)
	return int(imagebuild.KindOf(err))
}

// options returns what all commands that read nodes.yaml or images have in
// common. end has to be called when the work is done.
func (a *app) options() (o imagebuild.Options, end func(), err error) {
	o.Version = versionString()
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil || seconds < 0 || seconds > maxEpoch {
			return o, nil, usageError(fmt.Errorf("SOURCE_DATE_EPOCH is %q: it must be a number of seconds from 0 to %d", s, int64(maxEpoch)))
		}
		o.Time = time.Unix(seconds, 0).UTC()
	}
	if a.quiet {
		return o, func() {}, nil
	}
	bar := newProgress(a.stderr)
	o.Progress = bar.update
	o.Notice = bar.notice
	return o, bar.end, nil
}

// maxEpoch is the end of the year 2107, the last that a FAT partition can hold.
const maxEpoch = 4354819199

// versionString is the release's version, or what the Go toolchain knows.
func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
