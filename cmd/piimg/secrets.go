package main

import (
	"github.com/spf13/cobra"

	"github.com/piimg/piimg/imagebuild"
)

func (a *app) secretsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "secrets",
		Short: "Make, show and replace the secrets of a cluster",
		Long: `The secrets of a cluster are in one file, secrets.yaml beside nodes.yaml: its
certificate authorities, the key of its service accounts, and two seeds, from which
tokens, SSH host keys, salts and identifiers are derived. Keep it, keep a backup,
and keep it to yourself: whoever reads it owns the cluster, and without it no
image can be built that fits the cluster. It may be encrypted by age
(age-encryption.org), to recipients or with a passphrase.

` + secretsHelp + `

An authority of your own can be put into the file, in PEM, as kubernetes.ca.cert and
kubernetes.ca.key, before init adds the rest.

` + exitCodes,
		Example: `  piimg secrets init
  piimg secrets show
  piimg secrets rotate tokens`,
		Args: noCommand,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(a.secretsInitCommand(), a.secretsShowCommand(), a.secretsRotateCommand())
	return c
}

func (a *app) secretsInitCommand() *cobra.Command {
	var nodes, cluster string
	var keys secretsFlags
	var to encryptFlags
	c := &cobra.Command{
		Use:   "init",
		Short: "Make the secrets of a cluster, or add what an older file lacks",
		Long: `Makes the secrets of a new cluster. In a file that an older piimg made, or that you
began with an authority of your own, it adds what is missing and keeps the rest,
but for comments. A complete file is not touched, and an error.

--recipient, --recipients-file and --passphrase encrypt the file by age. With
--passphrase, the passphrase comes from --age-passphrase-file, from
PIIMG_AGE_PASSPHRASE or PIIMG_AGE_PASSPHRASE_FILE, or is asked for.

` + exitCodes,
		Example: `  piimg secrets init
  piimg secrets init --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
  piimg secrets init --cluster villagers --secrets villagers.yaml --recipients-file team.txt`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := keys.options(c, a, nodes)
			if err != nil {
				return err
			}
			defer end()
			e, err := to.encryption(a, func() ([]byte, error) { return fromFileOrEnv(keys.passphrase, "PIIMG_AGE_PASSPHRASE") },
				"name a file that holds it with --age-passphrase-file, or set PIIMG_AGE_PASSPHRASE")
			if err != nil {
				return err
			}
			r, err := imagebuild.InitSecrets(o, cluster, e)
			if err != nil {
				return err
			}
			return a.printSecrets(r)
		},
	}
	keys.add(c)
	to.add(c)
	c.Flags().StringVarP(&nodes, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().StringVar(&cluster, "cluster", "", "the cluster's name (default that of the nodes file)")
	c.Flags().BoolVar(&a.json, "json", false, "print what was done as JSON")
	return c
}

func (a *app) secretsShowCommand() *cobra.Command {
	var nodes string
	var reveal bool
	var keys secretsFlags
	c := &cobra.Command{
		Use:   "show",
		Short: "Say what secrets there are, without showing them",
		Long: `Says whose secrets the file holds, since when, and what the authorities are, with
the hash of their public keys as kubeadm has it (--discovery-token-ca-cert-hash).
If nodes.yaml is there, the public halves of the nodes' tokens are shown as well.

--reveal shows the tokens and the private keys, too: mind who looks on.

` + secretsHelp + `

` + exitCodes,
		Example: `  piimg secrets show
  piimg secrets show --json | jq -r '.authorities[] | select(.name == "ca") | .pin'
  piimg secrets show --reveal --json | jq -r '.tokens[] | select(.node == "blathers") | .token'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			o, end, err := keys.options(c, a, nodes)
			if err != nil {
				return err
			}
			defer end()
			r, err := imagebuild.ShowSecrets(o, reveal)
			if err != nil {
				return err
			}
			return a.printSecrets(r)
		},
	}
	keys.add(c)
	c.Flags().StringVarP(&nodes, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().BoolVar(&reveal, "reveal", false, "show tokens and private keys")
	c.Flags().BoolVar(&a.json, "json", false, "print all of it as JSON")
	return c
}

func (a *app) printSecrets(r *imagebuild.SecretsReport) error {
	if a.json {
		return a.printJSON(r)
	}
	return r.WriteText(a.stdout)
}
