package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [nodes|manifest]",
		Short: "Print the JSON Schema of nodes.yaml, or of manifest.json",
		Long: `Prints the JSON Schema (draft 2020-12) of nodes.yaml. Editors with a YAML
language server complete and check the file with it. With "manifest" it is that of
the manifest.json that a build leaves.`,
		Example: `  piimg schema > nodes.schema.json
  # then, as the first line of nodes.yaml:
  # yaml-language-server: $schema=nodes.schema.json`,
		ValidArgs: []string{"nodes", "manifest"},
		RunE: func(c *cobra.Command, args []string) error {
			schema := imagebuild.Schema()
			switch {
			case len(args) == 0 || len(args) == 1 && args[0] == "nodes":
			case len(args) == 1 && args[0] == "manifest":
				schema = imagebuild.ManifestSchema()
			default:
				return usageError(fmt.Errorf("%s takes nodes or manifest, but got %q; see '%s --help'", c.CommandPath(), args, c.CommandPath()))
			}
			_, err := a.stdout.Write(schema)
			return err
		},
	}
}
