package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) artifactsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "artifacts",
		Short: "What nodes need to form a cluster without the internet",
		Long: `With kubernetes.artifacts in nodes.yaml, the images get all that their nodes need:
programs, packages and container images, from a folder. list says what that is,
and pull fetches it.

The folder holds SHA256SUMS, which names every file of it. What the files are is
found out by looking into them; programs have to be in bin, CNI plugins in cni.

` + exitCodes,
		Example: `  piimg artifacts list
  piimg artifacts pull`,
		Args: noCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.artifactsListCommand(), a.artifactsPullCommand())
	return c
}

func (a *app) artifactsListCommand() *cobra.Command {
	var nodes string
	c := &cobra.Command{
		Use:   "list",
		Short: "Print what the nodes need, where it comes from, and whether it is there",
		Long: `Prints every program, CNI plugin, package and container image that the nodes of
nodes.yaml need with their base image: version, architecture, size where it is
known, which nodes need it, where it is fetched from, and whether the folder of
artifacts or the base image has it. What is wrong with the folder is told, too.

` + exitCodes,
		Example: `  piimg artifacts list --nodes nodes.yaml
  piimg artifacts list --json | jq -r '.artifacts[] | select(.state == "missing") | .name'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := a.options()
			if err != nil {
				return err
			}
			o.NodesFile = nodes
			list, err := imagebuild.ArtifactsList(c.Context(), o)
			end()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(list)
			}
			a.problems(list.Problems)
			return list.WriteText(a.stdout)
		},
	}
	c.Flags().StringVarP(&nodes, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().BoolVar(&a.json, "json", false, "print the list as JSON")
	return c
}

func (a *app) artifactsPullCommand() *cobra.Command {
	var (
		nodes  string
		update bool
	)
	c := &cobra.Command{
		Use:   "pull",
		Short: "Fetch what the nodes need into the folder of artifacts",
		Long: `Fetches what is missing from its publishers, or from the mirrors of nodes.yaml:
programs of Kubernetes from dl.k8s.io, others from their releases at GitHub,
container images from their registries. Only https is spoken. Each file must have
the SHA-256 that artifacts.lock names, or else the one that its publisher states,
which is written to artifacts.lock then: keep that file with nodes.yaml. Every
file is looked into, and refused if it is of another architecture or version.

Debian packages are not fetched: apt knows best what belongs to them. Those that
are missing are named, with the command to run. Put them into the folder, and
their lines into its SHA256SUMS.

A pull that was interrupted goes on where it was when it is run again.

` + exitCodes,
		Example: `  piimg artifacts pull --nodes nodes.yaml
  piimg artifacts pull --update`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := a.options()
			if err != nil {
				return err
			}
			o.NodesFile = nodes
			pulled, err := imagebuild.ArtifactsPull(c.Context(), o, update)
			end()
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(pulled)
			}
			for _, f := range pulled.Fetched {
				if _, err := fmt.Fprintf(a.stdout, "%s  %s  %s\n", f.SHA256, sizeString(f.Size), f.File); err != nil {
					return err
				}
			}
			for _, m := range pulled.Missing {
				a.tell("still missing: " + m)
			}
			a.problems(pulled.Problems)
			return nil
		},
	}
	c.Flags().StringVarP(&nodes, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().BoolVar(&update, "update", false, "fetch and lock anew what artifacts.lock names")
	c.Flags().BoolVar(&a.json, "json", false, "print what was done as JSON")
	return c
}

// problems tells what is wrong with the folder of artifacts.
func (a *app) problems(texts []string) {
	for _, text := range texts {
		a.tell("problem: " + text)
	}
}

// tell writes a message, unless only results and errors are wanted.
func (a *app) tell(text string) {
	if !a.quiet {
		fmt.Fprintln(a.stderr, text)
	}
}
