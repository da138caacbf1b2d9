package main

import (
	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) planCommand() *cobra.Command {
	var flags imagebuild.Options
	var keys secretsFlags
	var shard string
	c := &cobra.Command{
		Use:   "plan",
		Short: "Print what build would change, and write nothing",
		Long: `Prints every edit of every node: the path, what it becomes and why. Secrets are
shown as <secret>. Where there is no secrets file yet, values derived from it are
those of a placeholder.

` + secretsHelp + `

` + exitCodes,
		Example: `  piimg plan --nodes nodes.yaml
  piimg plan --node isabelle
  piimg plan --json | jq -r '.plans[].edits[].path' | sort | uniq -c`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := keys.options(c, a, flags.NodesFile)
			if err != nil {
				return err
			}
			if o.Only, err = nodeNames(c, "node", flags.Only); err != nil {
				return err
			}
			if o.Shard, err = shardOf(c, shard); err != nil {
				return err
			}
			plans, err := imagebuild.Plan(c.Context(), o)
			end()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(plans)
			}
			return plans.WriteText(a.stdout)
		},
	}
	c.Flags().StringVarP(&flags.NodesFile, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	keys.add(c)
	c.Flags().StringSliceVar(&flags.Only, "node", nil, "only these nodes (names, with commas)")
	c.Flags().StringVar(&shard, "shard", "", shardUsage)
	c.Flags().BoolVar(&a.json, "json", false, "print the plans as JSON")
	return c
}
