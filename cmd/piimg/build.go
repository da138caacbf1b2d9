package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) buildCommand() *cobra.Command {
	var flags imagebuild.Options
	var keys secretsFlags
	var shard string
	c := &cobra.Command{
		Use:   "build",
		Short: "Make one ready image for every node",
		Long: `Makes one ready image for every node of nodes.yaml. Flash them with dd, Etcher
or Raspberry Pi Imager ("Use custom"; leave its own customisation off).

Everything that can be wrong with nodes.yaml, the base image and the plans is
reported before a byte is written. The images appear under their names when all
of them are complete; an interrupted build leaves nothing behind, and running it
again is always safe. A file that is not an earlier image of the same node is
not replaced without --force.

Beside each image stands its block map, with which bmaptool writes only what is in
use, and checks it: bmaptool copy dist/isabelle.img.xz /dev/sdX. For all of them there
are SHA256SUMS and manifest.json (see piimg verify), and what you need to reach the
nodes, before they have booted: known_hosts, ssh_config, hosts, an inventory.ini for Ansible,
and kubeconfig, if nodes.yaml has a kubernetes block. The same inputs make the
same bytes. Files get the base image's time, or that of SOURCE_DATE_EPOCH.

With --check-against DIR, the folder of an earlier build or only the manifest.json of
one, build fails and publishes nothing if any byte differs, and says in which file of
which partition, if the earlier image is there: with exit code 7. A manifest is taken
at its word; verify compares the images with it.

Several machines make the images of a large cluster with --shard I/N: the I-th of
N slices, whose files together are those of one build. The secrets must be there.

` + secretsHelp + `
If there are none, build makes secrets.yaml: keep it. --no-create-secrets refuses
that, for machines that forget what they made.

` + exitCodes,
		Example: `  piimg build --nodes nodes.yaml
  piimg build --nodes nodes.yaml --only isabelle,blathers --out cards
  piimg build --nodes nodes.yaml --shard 2/8 --no-create-secrets
  sudo dd if=dist/isabelle.img of=/dev/sdX bs=4M conv=fsync status=progress`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := keys.options(c, a, flags.NodesFile)
			if err != nil {
				return err
			}
			o.Out, o.Format = flags.Out, flags.Format
			o.Jobs, o.Force, o.NoCreateSecrets = flags.Jobs, flags.Force, flags.NoCreateSecrets
			if c.Flags().Changed("jobs") && o.Jobs < 1 {
				return usageError(fmt.Errorf("--jobs is %d: it must be at least 1", o.Jobs))
			}
			if c.Flags().Changed("format") && o.Format == "" {
				return usageError(fmt.Errorf("--format is empty: it is one of %s", strings.Join(imagebuild.Formats(), ", ")))
			}
			if c.Flags().Changed("out") && o.Out == "" {
				return usageError(errors.New("--out is empty: name a folder"))
			}
			if o.Only, err = nodeNames(c, "only", flags.Only); err != nil {
				return err
			}
			o.CheckAgainst = flags.CheckAgainst
			if c.Flags().Changed("check-against") && o.CheckAgainst == "" {
				return usageError(errors.New("--check-against is empty: name the folder of an earlier build"))
			}
			if o.Shard, err = shardOf(c, shard); err != nil {
				return err
			}
			report, err := imagebuild.Build(c.Context(), o)
			end()
			if err != nil {
				return err
			}
			return a.printReport(report)
		},
	}
	c.Flags().StringVarP(&flags.NodesFile, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().StringVarP(&flags.Out, "out", "o", "dist", "the folder for the images")
	c.Flags().StringVarP(&flags.Format, "format", "f", imagebuild.FormatImg, "how images are packed: "+strings.Join(imagebuild.Formats(), ", "))
	keys.add(c)
	c.Flags().BoolVar(&flags.NoCreateSecrets, "no-create-secrets", false, "fail if there are no secrets yet, instead of making some")
	c.Flags().StringSliceVar(&flags.Only, "only", nil, "build only these nodes (names, with commas)")
	c.Flags().StringVar(&shard, "shard", "", shardUsage)
	c.Flags().IntVarP(&flags.Jobs, "jobs", "j", 0, "how many images to work on at once (default one for each processor)")
	c.Flags().StringVar(&flags.CheckAgainst, "check-against", "", "fail if the bytes differ from those of an earlier build in this folder")
	c.Flags().BoolVar(&flags.Force, "force", false, "replace files that are not earlier images of the same node")
	c.Flags().BoolVar(&a.json, "json", false, "print the report as JSON")
	return c
}

// nodeNames returns a list of nodes without the blanks around its names. One that
// was given and names none is refused: a variable that was not set must not build
// all of them.
func nodeNames(c *cobra.Command, flag string, names []string) ([]string, error) {
	trimmed := make([]string, len(names))
	for i, name := range names {
		trimmed[i] = strings.TrimSpace(name)
	}
	if c.Flags().Changed(flag) && (len(trimmed) == 0 || slices.Contains(trimmed, "")) {
		return nil, usageError(fmt.Errorf("--%s has an empty name: name nodes, with commas between them", flag))
	}
	return trimmed, nil
}

const shardUsage = "only a slice of the nodes: `I/N`, such as 2/8 for the second of eight"

// shardOf returns the value of --shard. An empty one is refused, as nodeNames does.
func shardOf(c *cobra.Command, value string) (imagebuild.Shard, error) {
	if !c.Flags().Changed("shard") {
		return imagebuild.Shard{}, nil
	}
	s, err := imagebuild.ParseShard(value)
	if err != nil {
		return s, usageError(fmt.Errorf("--shard: %w", err))
	}
	return s, nil
}

func (a *app) printReport(r *imagebuild.Report) error {
	if a.json {
		return a.printJSON(r)
	}
	for _, n := range r.Nodes {
		if _, err := fmt.Fprintf(a.stdout, "%s  %s  %s\n", n.SHA256, sizeString(n.Size), n.Image); err != nil {
			return err
		}
	}
	return nil
}

// printJSON prints v in the form that scripts may rely on.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// sizeString prints a number of bytes for people.
func sizeString(n int64) string {
	const units = "KMGT"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
