package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/piimg/piimg/imagebuild"
)

// secretsFlags say where the secrets are, and what opens them if they are encrypted.
type secretsFlags struct {
	file       string
	identity   string // a file with an age identity
	passphrase string // a file with a passphrase
}

const secretsHelp = `The secrets are those of secrets.yaml beside the nodes file, of --secrets, or the
content of the environment variable PIIMG_SECRETS. Encrypted ones are opened by
--age-identity or --age-passphrase-file, or by PIIMG_AGE_IDENTITY or
PIIMG_AGE_PASSPHRASE, or by the files named in PIIMG_AGE_IDENTITY_FILE or
PIIMG_AGE_PASSPHRASE_FILE; on a terminal, the passphrase is asked for.`

func (f *secretsFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.file, "secrets", "", "the secrets file (default secrets.yaml beside the nodes file)")
	c.Flags().StringVar(&f.identity, "age-identity", "", "a file with the age identity that opens the secrets")
	c.Flags().StringVar(&f.passphrase, "age-passphrase-file", "", "a file with the passphrase that opens the secrets")
}

// options returns the options of a command that reads the nodes file and the secrets, by
// the flags and the environment. End ends the progress bar.
func (f *secretsFlags) options(c *cobra.Command, a *app, nodesFile string) (o imagebuild.Options, end func(), err error) {
	if c.Flags().Changed("secrets") && f.file == "" {
		return o, nil, usageError(errors.New("--secrets is empty: name a file"))
	}
	if o, end, err = a.options(); err != nil {
		return o, nil, err
	}
	o.NodesFile = nodesFile
	o.SecretsFile = f.file
	if content, ok := os.LookupEnv(imagebuild.SecretsVariable); ok {
		switch {
		case f.file != "":
			return o, nil, usageError(fmt.Errorf("--secrets and %s are both given: use one of them", imagebuild.SecretsVariable))
		case strings.TrimSpace(content) == "":
			return o, nil, configError(fmt.Errorf("%s is empty: set it to the content of the secrets file, or unset it", imagebuild.SecretsVariable))
		}
		o.SecretsContent = []byte(content)
	}
	o.Unlock.Identity = func() ([]byte, error) {
		return fromFileOrEnv(f.identity, "PIIMG_AGE_IDENTITY")
	}
	o.Unlock.Passphrase = func() ([]byte, error) {
		passphrase, err := fromFileOrEnv(f.passphrase, "PIIMG_AGE_PASSPHRASE")
		if err != nil || passphrase != nil {
			return trimLineEnd(passphrase), err
		}
		return a.askPassphrase("passphrase of the secrets: ")
	}
	return o, end, nil
}

// fromFileOrEnv returns the content of a file that a flag names, or else that of
// the environment variable, or else of the file that variable_FILE names, or nil.
func fromFileOrEnv(file, variable string) ([]byte, error) {
	if file == "" {
		value, ok := os.LookupEnv(variable)
		name, both := os.LookupEnv(variable + "_FILE")
		switch {
		case ok && both:
			return nil, fmt.Errorf("%[1]s and %[1]s_FILE are both set: unset one of them", variable)
		case ok && value == "":
			return nil, fmt.Errorf("%s is empty: set it, or unset it", variable)
		case ok:
			return []byte(value), nil
		case both && name == "":
			return nil, fmt.Errorf("%s_FILE is empty: set it, or unset it", variable)
		case !both:
			return nil, nil
		}
		file = name
	}
	return readSmall(file)
}

// readSmall reads a file, or a pipe, of at most a MiB.
func readSmall(file string) ([]byte, error) {
	const limit = 1 << 20
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%s is empty", file)
	}
	return data, nil
}

// askPassphrase reads a line from the terminal without showing it. Where there is
// no terminal it returns nil.
func (a *app) askPassphrase(prompt string) ([]byte, error) {
	in, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, nil
	}
	fmt.Fprint(a.stderr, prompt)
	line, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.stderr)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("no passphrase was typed")
	}
	return line, err
}

// trimLineEnd leaves out the end of the only line of a file.
func trimLineEnd(b []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(b, []byte("\n")), []byte("\r"))
}

func configError(err error) error {
	return &imagebuild.Error{Kind: imagebuild.KindConfig, Err: err}
}
