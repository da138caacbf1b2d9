package nodes

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "write schema.json and the golden files anew")

func TestSchemaIsCurrent(t *testing.T) {
	want, err := generateSchema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, Schema()) {
		t.Error("schema.json is not what the types in document.go say: run go test ./imagebuild/nodes -run TestSchemaIsCurrent -update")
	}
}

func generateSchema() ([]byte, error) {
	r := jsonschema.Reflector{Namer: func(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "Doc") }}
	s := r.Reflect(&document{})
	s.ID = "https://raw.githubusercontent.com/piimg/piimg/main/imagebuild/nodes/schema.json"
	s.Title = "nodes.yaml"
	s.Description = "The nodes of a cluster of Raspberry Pis, from which piimg builds one image each."
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(s)
	return b.Bytes(), err
}

// The rest of this file says in the schema what struct tags cannot. Patterns
// are those that the checks use.

func prop(s *jsonschema.Schema, name string) *jsonschema.Schema {
	p, ok := s.Properties.Get(name)
	if !ok {
		panic("no property " + name)
	}
	return p
}

func exactlyOne(s *jsonschema.Schema, alternatives ...[]string) {
	for _, required := range alternatives {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: required})
	}
}

// nullable allows null besides what each of a struct's nullable fields is.
func nullable(s *jsonschema.Schema, t reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			nullable(s, f.Type)
			continue
		}
		if f.Tag.Get("strictyaml") != "nullable" {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := prop(s, name)
		s.Properties.Set(name, &jsonschema.Schema{
			Description: inner.Description,
			AnyOf:       []*jsonschema.Schema{inner, {Type: "null"}},
		})
		inner.Description = ""
	}
}

func extendSettings(s *jsonschema.Schema) {
	prop(s, "interface").Pattern = interfacePattern
	prop(s, "memory").Pattern = sizePattern
	prop(s, "domain").MaxLength = ptr(253)
	prop(s, "domain").Pattern = `^[a-z0-9.-]+$`
	prop(s, "locale").Pattern = localePattern
	prop(s, "keymap").Pattern = keymapPattern
	prop(s, "timezone").Pattern = `^[A-Za-z0-9_+/-]+$`
	prop(s, "cmdline").Items.Pattern = `^[!-~]+$`
	prop(s, "cmdline").UniqueItems = true
	prop(s, "config").Items.Pattern = `^[^\r\n]+$`
	prop(s, "config").Items.MaxLength = ptr(configLine)
	prop(s, "overlays").Items.MinLength = ptr(1)
}

func (settingsDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	extendSettings(s)
	nullable(s, reflect.TypeFor[settingsDoc]())
}

func (nodeDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	extendSettings(s)
	nullable(s, reflect.TypeFor[nodeDoc]())
	prop(s, "hostname").Pattern = labelPattern + `|^[a-z0-9-]*(` + rangePattern + `[a-z0-9-]*)+$`
	prop(s, "ip").Pattern = `^(dhcp|` + octetPattern + `(\.` + octetPattern + `){3})$`
	prop(s, "mac").Pattern = macPattern
	prop(s, "macs").Items.Pattern = macPattern
	prop(s, "macs").UniqueItems = true
}

func (imageDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "path").MinLength = ptr(1)
	prop(s, "url").Pattern = `^[Hh][Tt][Tt][Pp][Ss]://[^@\s#]+$`
	prop(s, "sha256").Pattern = sha256Pattern
	prop(s, "rootSize").Pattern = sizePattern
	exactlyOne(s, []string{"path"}, []string{"url", "sha256"})
}

func (clusterDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "name").Pattern = labelPattern
	prop(s, "network").Pattern = `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`
	prop(s, "gateway").Pattern = `^[0-9]{1,3}(\.[0-9]{1,3}){3}$`
	prop(s, "dns").Items.Pattern = `^[0-9]{1,3}(\.[0-9]{1,3}){3}$`
}

func (userDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "name").Pattern = userPattern
	nullable(s, reflect.TypeFor[userDoc]())
}

func (passwordDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "hash").Pattern = hashPattern
	prop(s, "file").MinLength = ptr(1)
	prop(s, "env").Pattern = envPattern
	exactlyOne(s, []string{"hash"}, []string{"file"}, []string{"env"})
}

func (passphraseDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "file").MinLength = ptr(1)
	prop(s, "env").Pattern = envPattern
	exactlyOne(s, []string{"file"}, []string{"env"})
}

func (wifiDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "ssid").MinLength, prop(s, "ssid").MaxLength = ptr(1), ptr(32)
	for _, code := range strings.Fields(countries) {
		prop(s, "country").Enum = append(prop(s, "country").Enum, code)
	}
}

func (fileDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "path").Pattern = `^/([^/]+/)*[^/]+$`
	prop(s, "source").MinLength = ptr(1)
	prop(s, "mode").Pattern = modePattern
	prop(s, "owner").Pattern = ownerPattern
	exactlyOne(s, []string{"content"}, []string{"source"})
}

func (kubernetesDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "version").Pattern = versionPattern
	prop(s, "podSubnet").Pattern = `^[0-9]{1,3}(\.[0-9]{1,3}){3}/[0-9]{1,2}$`
	prop(s, "serviceSubnet").Pattern = prop(s, "podSubnet").Pattern
	prop(s, "endpoint").Pattern = `^[a-z0-9][a-z0-9.-]*(:[1-9][0-9]{0,4})?$`
	prop(s, "certSANs").UniqueItems = true
	prop(s, "certSANs").Items.Pattern = `^(\*\.)?[a-z0-9][a-z0-9.-]*$`
	prop(s, "dnsDomain").MaxLength = ptr(253)
	prop(s, "dnsDomain").Pattern = `^[a-z0-9.-]+$`
	prop(s, "artifacts").MinLength = ptr(1)
	prop(s, "patches").MinLength = ptr(1)
}

// A CNI is a word, or a mapping.
func (cniDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	mapping := *s
	prop(&mapping, "manifest").MinLength = ptr(1)
	*s = jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Enum: []any{string(Flannel), string(NoCNI)}}, &mapping}}
}

func (mirrorsDoc) JSONSchemaExtend(s *jsonschema.Schema) {
	prop(s, "packages").Pattern = `^[Hh][Tt][Tt][Pp][Ss]://[^@\s?#]+$`
	prop(s, "binaries").Pattern = prop(s, "packages").Pattern
	prop(s, "images").Pattern = registryPattern
}

func ptr(n uint64) *uint64 { return &n }

// TestPatternsAreECMA keeps the schema's patterns within what both Go's and
// ECMA-262's regular expressions read alike.
func TestPatternsAreECMA(t *testing.T) {
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if p, ok := v["pattern"].(string); ok {
				if _, err := regexp.Compile(p); err != nil {
					t.Errorf("%s: %v", p, err)
				}
				if strings.Contains(p, "(?") || strings.Contains(p, `\p`) || strings.Contains(p, "[[") {
					t.Errorf("%s is not portable", p)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	var s any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	walk(s)
}
