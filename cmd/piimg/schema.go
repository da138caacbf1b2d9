package main

import (
	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of nodes.yaml",
		Long: `Prints the JSON Schema (draft 2020-12) of nodes.yaml. Editors with a YAML
language server complete and check the file with it.`,
		Example: `  piimg schema > nodes.schema.json
  # then, as the first line of nodes.yaml:
  # yaml-language-server: $schema=nodes.schema.json`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.stdout.Write(imagebuild.Schema())
			return err
		},
	}
}
