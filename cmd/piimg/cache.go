package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) cacheCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "What piimg keeps of base images to be faster the next time",
		Long: `Downloads, and copies of images that cannot be read or spliced as they are packed,
are kept in the user's cache folder. All of it can be made again.

` + exitCodes,
		Example: `  piimg cache list
  piimg cache prune --older-than 7d --max-size 20GiB`,
		Args: noCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.cacheListCommand(), a.cachePruneCommand())
	return c
}

func (a *app) cacheListCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "Print what is in the cache folder, the longest unused first",
		Long: `Prints, for everything in the cache folder, when it was last used, what it takes
on the disk, what it is and of which base image.

` + exitCodes,
		Example: `  piimg cache list
  piimg cache list --json | jq -r '.[].path'`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			list, err := imagebuild.CacheList(imagebuild.Options{})
			if err != nil {
				return err
			}
			return a.printCache(list)
		},
	}
	c.Flags().BoolVar(&a.json, "json", false, "print the list as JSON")
	return c
}

func (a *app) cachePruneCommand() *cobra.Command {
	var (
		p               imagebuild.CachePruning
		older, maxBytes string
	)
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove what has not been used for long",
		Long: `Removes from the cache folder what has not been used for 30 days, or as long as
--older-than says, and, with --max-size, the longest unused until the rest takes no
more; or everything, with --all. What a build uses at the time is kept. Prints what
was removed.

` + exitCodes,
		Example: `  piimg cache prune --dry-run
  piimg cache prune --older-than 7d --max-size 20GiB`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if p.All && (c.Flags().Changed("older-than") || c.Flags().Changed("max-size")) {
				return usageError(errors.New("--all removes everything: leave out --older-than and --max-size"))
			}
			if p.OlderThan, err = parseAge(older); err != nil {
				return usageError(fmt.Errorf("--older-than is %q: %w", older, err))
			}
			if c.Flags().Changed("max-size") {
				if p.MaxSize, err = parseBytes(maxBytes); err != nil {
					return usageError(fmt.Errorf("--max-size is %q: %w", maxBytes, err))
				}
			}
			removed, err := imagebuild.CachePrune(imagebuild.Options{}, p)
			if perr := a.printCache(removed); perr != nil {
				return perr
			}
			if err == nil && !a.json {
				what := "removed"
				if p.DryRun {
					what = "would be removed"
				}
				a.tell(fmt.Sprintf("%s %s", sizeString(removed.Size()), what))
			}
			return err
		},
	}
	c.Flags().StringVar(&older, "older-than", "30d", "remove what has not been used for so long: 30d, 12h")
	c.Flags().StringVar(&maxBytes, "max-size", "", "remove the longest unused until no more is left than this: 20GiB")
	c.Flags().BoolVar(&p.All, "all", false, "remove everything, however lately it was used")
	c.Flags().BoolVar(&p.DryRun, "dry-run", false, "only print what would be removed")
	c.Flags().BoolVar(&a.json, "json", false, "print what was removed as JSON")
	return c
}

func (a *app) printCache(list imagebuild.CacheEntries) error {
	if a.json {
		return a.printJSON(list)
	}
	return list.WriteText(a.stdout)
}

// parseAge parses a time as Go does, or in days.
func parseAge(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return d, nil
	}
	return 0, fmt.Errorf("it must be a number of days or hours, as in 30d or 12h; --all removes everything")
}

// parseBytes parses a size with a unit.
func parseBytes(s string) (int64, error) {
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		digits, ok := strings.CutSuffix(s, unit)
		if !ok {
			continue
		}
		if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n > 0 && n <= math.MaxInt64>>(10*(i+1)) {
			return n << (10 * (i + 1)), nil
		}
	}
	return 0, fmt.Errorf("it must be a number with a unit, as in 500MiB or 20GiB; --all removes everything")
}
