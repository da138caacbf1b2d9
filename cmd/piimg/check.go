package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check IMAGE...",
		Short: "Look for everything that is wrong with images",
		Long: `Checks the packing, the partition table and every FAT and ext4 file system of an
image, as fsck.fat -n and e2fsck -fn do, without root. A file system without a
partition table can be checked, too; logical partitions are not looked into.
Nothing is changed.

Each image is checked, whatever is wrong with the one before. The exit code is 0
if nothing was found, 4 if an image is none or a file system could not be checked,
and else 7. What "not checked" stands before, such as what quotas count, has no
part in it.

` + exitCodes,
		Example: `  piimg check dist/*.img
  piimg check 2024-11-19-raspios-bookworm-arm64-lite.img.xz
  piimg check --json card.img | jq '.[].partitions[].findings[]'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(fmt.Errorf("%s takes one image or more; see '%s --help'", c.CommandPath(), c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error { return a.check(c.Context(), args) },
	}
	c.Flags().BoolVar(&a.json, "json", false, "print a list of the reports as JSON")
	return c
}

// imageChecked is what --json prints of an image: its report, or why there is none.
type imageChecked struct {
	Path  string `json:"path"`
	Error string `json:"error,omitempty"`
	*imagebuild.CheckReport
}

func (a *app) check(ctx context.Context, paths []string) error {
	o, end, err := a.options()
	if err != nil {
		return err
	}
	var (
		all     []imageChecked
		errs    []error
		damaged int
	)
	for _, path := range paths {
		r, err := imagebuild.Check(ctx, path, o)
		end()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		one := imageChecked{Path: path, CheckReport: r}
		if err != nil {
			one.Error = err.Error()
			errs = append(errs, err)
		} else {
			errs = append(errs, r.Err())
			if !r.Clean() {
				damaged++
			}
		}
		all = append(all, one)
		if r == nil || a.json {
			continue
		}
		if err := r.WriteText(a.stdout); err != nil {
			return err
		}
	}
	if a.json {
		if err := a.printJSON(all); err != nil {
			return err
		}
	}
	if damaged > 0 {
		errs = append(errs, &imagebuild.Error{
			Kind: imagebuild.KindDamage,
			Err:  fmt.Errorf("something is wrong with %d of %d images", damaged, len(paths)),
		})
	}
	return errors.Join(errs...)
}
