package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/piimg/piimg/imagebuild"
)

// rotation is what it means to replace a part of the secrets.
type rotation struct {
	part    imagebuild.SecretsPart
	meaning string
	grave   bool // asks, or wants --yes
}

func rotations() []rotation {
	return []rotation{
		{"tokens", "Nodes that have joined stay. Cards that were written and have not joined yet\n" +
			"cannot join a control plane that was built anew, nor the other way round: build\n" +
			"both. A running control plane does not know the token of a node that is built\n" +
			"from now on: show it with piimg secrets show --reveal, and run kubeadm token\n" +
			"create TOKEN there. With k3s, build all nodes anew.", false},
		{"service-account", "Control planes that are built from now on do not accept the service-account\n" +
			"tokens of a running cluster, and one with the old key beside one with the new\n" +
			"key breaks the pods: build all control planes anew.", false},
		{"ca", "Images that are built from now on are of another cluster: its nodes and those of\n" +
			"the running one do not trust each other, and the old kubeconfig opens only the\n" +
			"old one. Write all cards anew.", true},
		{"seed", "All images get other SSH host keys, salts and identifiers: ssh warns of each node\n" +
			"that is written anew until the new known_hosts is used.", true},
		{"all", "A new cluster: all of the above. Write all cards anew.", true},
	}
}

func (a *app) secretsRotateCommand() *cobra.Command {
	var (
		nodes, newPassphrase string
		yes, plain           bool
		keys                 secretsFlags
		to                   encryptFlags
		text                 strings.Builder
	)
	for _, r := range rotations() {
		fmt.Fprintf(&text, "%s\n  %s\n", r.part, strings.ReplaceAll(r.meaning, "\n", "\n  "))
	}
	c := &cobra.Command{
		Use:   "rotate [tokens|service-account|ca|seed|all]",
		Short: "Replace a part of the secrets, or how the file is encrypted",
		Long: `Replaces a part of the secrets by a new one. Nothing changes on cards and in
running clusters by that; the next images differ:

` + text.String() + `
The old file stays beside the new one, as secrets.yaml.1 or the next number: what it
holds is still on cards. Remove it when it is not.

Without a part, --recipient, --recipients-file, --passphrase or --plain encrypt the
same secrets in another way. A passphrase is read from --new-passphrase-file, or
asked for.

` + exitCodes,
		Example: `  piimg secrets rotate tokens
  piimg secrets rotate all --yes
  piimg secrets rotate --recipients-file team.txt`,
		ValidArgs: []string{"tokens", "service-account", "ca", "seed", "all"},
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError(fmt.Errorf("%s takes one part, but got %q", c.CommandPath(), args))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o, end, err := keys.options(c, a, nodes)
			if err != nil {
				return err
			}
			defer end()
			if newPassphrase != "" {
				to.passphrase = true
			}
			if plain && to.any() {
				return usageError(errors.New("--plain and what to encrypt to are both given: use one of them"))
			}
			var part rotation
			if len(args) > 0 {
				if part, err = rotationOf(args[0]); err != nil {
					return err
				}
			} else if !plain && !to.any() {
				return usageError(fmt.Errorf("name the part to replace, or how to encrypt the file; see '%s --help'", c.CommandPath()))
			}
			if plain && part.part != "" {
				return usageError(errors.New("--plain goes without a part: decrypt the file first"))
			}
			e, err := to.encryption(a, func() ([]byte, error) {
				if newPassphrase == "" {
					return nil, nil
				}
				return readSmall(newPassphrase)
			}, "name a file that holds it with --new-passphrase-file")
			if err != nil {
				return err
			}
			if part.grave && !yes {
				if err := a.confirm(part); err != nil {
					return err
				}
			}
			var r *imagebuild.SecretsReport
			if part.part == "" {
				r, err = imagebuild.EncryptSecrets(o, e)
			} else {
				r, err = imagebuild.RotateSecrets(o, part.part, e)
			}
			if err != nil {
				return err
			}
			if part.part != "" {
				a.tell(part.meaning)
			}
			return a.printSecrets(r)
		},
	}
	keys.add(c)
	to.add(c)
	c.Flags().StringVarP(&nodes, "nodes", "n", "nodes.yaml", "the file that describes the nodes")
	c.Flags().StringVar(&newPassphrase, "new-passphrase-file", "", "encrypt with the passphrase that this file holds")
	c.Flags().BoolVar(&plain, "plain", false, "decrypt the file")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&a.json, "json", false, "print what was done as JSON")
	return c
}

func rotationOf(name string) (rotation, error) {
	var names []string
	for _, r := range rotations() {
		if string(r.part) == name {
			return r, nil
		}
		names = append(names, string(r.part))
	}
	return rotation{}, usageError(fmt.Errorf("there is no part %q of the secrets: they are %s", name, strings.Join(names, ", ")))
}

// confirm asks on a terminal; elsewhere it refuses.
func (a *app) confirm(r rotation) error {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usageError(fmt.Errorf("rotating %s wants --yes:\n%s", r.part, r.meaning))
	}
	fmt.Fprintf(a.stderr, "%s\nReplace it? Type yes: ", r.meaning)
	line, err := bufio.NewReader(in).ReadString('\n')
	if err != nil {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	if strings.TrimSpace(line) != "yes" {
		return usageError(errors.New("nothing was changed"))
	}
	return nil
}

// encryptFlags say to whom a secrets file is encrypted.
type encryptFlags struct {
	recipients []string
	file       string
	passphrase bool
}

func (f *encryptFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.recipients, "recipient", nil, "encrypt the file to this recipient (age1…, ssh-ed25519 …); may be repeated")
	c.Flags().StringVar(&f.file, "recipients-file", "", "encrypt the file to the recipients in this one, one a line")
	c.Flags().BoolVar(&f.passphrase, "passphrase", false, "encrypt the file with a passphrase")
}

// any says whether one of the flags was given.
func (f *encryptFlags) any() bool { return len(f.recipients) > 0 || f.file != "" || f.passphrase }

// encryption returns what the flags say. A passphrase comes from get, or from the
// terminal; remedy says how else to give one.
func (f *encryptFlags) encryption(a *app, get func() ([]byte, error), remedy string) (e imagebuild.Encryption, err error) {
	e.Recipients = f.recipients
	if f.file != "" {
		text, err := readSmall(f.file)
		if err != nil {
			return e, configError(fmt.Errorf("cannot read the recipients: %w", err))
		}
		more, err := imagebuild.ParseRecipients(f.file, text)
		if err != nil {
			return e, configError(err)
		}
		e.Recipients = append(e.Recipients[:len(e.Recipients):len(e.Recipients)], more...)
	}
	if !f.passphrase {
		return e, usageErrorIf(e.Check())
	}
	if e.Passphrase, err = get(); err != nil {
		return e, configError(fmt.Errorf("cannot get the passphrase: %w", err))
	}
	e.Passphrase = trimLineEnd(e.Passphrase)
	if len(e.Passphrase) == 0 {
		if e.Passphrase, err = a.askNewPassphrase(); err != nil {
			return e, configError(fmt.Errorf("cannot get the passphrase: %w", err))
		}
	}
	if len(e.Passphrase) == 0 {
		return e, usageError(errors.New("--passphrase is given, and no passphrase: " + remedy))
	}
	return e, usageErrorIf(e.Check())
}

func usageErrorIf(err error) error {
	if err == nil {
		return nil
	}
	return usageError(err)
}

// askNewPassphrase asks twice, on a terminal; elsewhere it returns nil.
func (a *app) askNewPassphrase() ([]byte, error) {
	first, err := a.askPassphrase("new passphrase: ")
	if err != nil || first == nil {
		return nil, err
	}
	again, err := a.askPassphrase("once more: ")
	if err != nil {
		return nil, err
	}
	if string(first) != string(again) {
		return nil, errors.New("the two are not the same")
	}
	return first, nil
}
