package nodes

import (
	"bytes"
	_ "embed"
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (draft 2020-12) of nodes.yaml, for editors and
// for checks by other programs. It is generated from the types that the file is
// read by; go test -run TestSchemaIsCurrent -update writes it anew. What a
// schema cannot say, such as that addresses are unique, is left to [Load].
func Schema() []byte { return bytes.Clone(schema) }
