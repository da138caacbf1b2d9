package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) inspectCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Say what an image is, and what piimg put into it",
		Long: `Says what an image is: how it is packed, its partition table, its file systems
with their features and free space, the release, the users, whether ssh, swap and
Wi-Fi are set, and what piimg put in, if it did. Nothing is changed.

` + exitCodes,
		Example: `  piimg inspect 2024-11-19-raspios-bookworm-arm64-lite.img.xz
  piimg inspect --json dist/isabelle.img | jq .system.piimg`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(fmt.Errorf("%s takes one image, but got %d arguments; see '%s --help'", c.CommandPath(), len(args), c.CommandPath()))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o, end, err := a.options()
			if err != nil {
				return err
			}
			in, err := imagebuild.Inspect(c.Context(), args[0], o)
			end()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(in)
			}
			return in.WriteText(a.stdout)
		},
	}
	c.Flags().BoolVar(&a.json, "json", false, "print the findings as JSON")
	return c
}
