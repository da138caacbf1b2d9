package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) verifyCommand() *cobra.Command {
	var jobs int
	c := &cobra.Command{
		Use:   "verify DIR",
		Short: "Compare a folder of images with what its manifest says",
		Long: `Compares a folder that build has made with what it says of itself: every file with
SHA256SUMS; every image, packed and unpacked, with manifest.json, and with its block
map; and in every image it checks the file systems, as check does, and finds every
edit that the manifest names: content, mode, owner, target, absence. Of secrets it
is found that they are there. An image that the manifest does not have, such as one
of an older nodes.yaml, is a problem, too. Neither nodes.yaml nor the secrets are needed.

All problems are printed, one a line. The exit code is 0 if there are none, and 7
otherwise. Nothing is changed; what has to be unpacked goes to the cache folder, and
is removed.

` + exitCodes,
		Example: `  piimg verify dist
  piimg verify --json dist | jq -r '.problems[].file' | sort -u`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("%s takes one folder; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o, end, err := a.options()
			if err != nil {
				return err
			}
			if c.Flags().Changed("jobs") && jobs < 1 {
				return usageError(fmt.Errorf("--jobs is %d: it must be at least 1", jobs))
			}
			o.Jobs = jobs
			r, err := imagebuild.Verify(c.Context(), args[0], o)
			end()
			if err != nil {
				return err
			}
			if a.json {
				err = a.printJSON(r)
			} else {
				err = r.WriteText(a.stdout)
			}
			if err == nil && !r.Clean() {
				err = &imagebuild.Error{Kind: imagebuild.KindDamage, Err: fmt.Errorf("%s is not as it was built", args[0])}
			}
			return err
		},
	}
	c.Flags().IntVarP(&jobs, "jobs", "j", 0, "how many images to verify at once (default one for each processor)")
	c.Flags().BoolVar(&a.json, "json", false, "print the report as JSON")
	return c
}
