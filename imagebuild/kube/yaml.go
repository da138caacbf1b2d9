package kube

import (
	"bytes"
	"fmt"

	"github.com/goccy/go-yaml"
)

// documents returns the values as one YAML stream. Fields come in the order of the
// structs; there are no maps in them.
func documents(values ...any) ([]byte, error) {
	var b bytes.Buffer
	for i, v := range values {
		if i > 0 {
			b.WriteString("---\n")
		}
		text, err := yaml.MarshalWithOptions(v, yaml.IndentSequence(false))
		if err != nil {
			return nil, fmt.Errorf("failed to write YAML: %w", err)
		}
		b.Write(text)
	}
	return b.Bytes(), nil
}

// typeMeta says what a document is.
type typeMeta struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
}
