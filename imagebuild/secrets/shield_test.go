package secrets

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// secretsOf lists all stretches of n characters of what a file must not show.
func secretsOf(s *Secrets, n int) []string {
	texts := []string{base64.StdEncoding.EncodeToString(s.seed[:]), base64.StdEncoding.EncodeToString(s.tokenSeed)}
	keys := []PrivateKey{s.kubernetes.ServiceAccount}
	for _, a := range s.kubernetes.authorities() {
		keys = append(keys, a.Key)
	}
	for _, k := range keys {
		for line := range strings.Lines(string(k)) {
			if !strings.HasPrefix(line, "-----") {
				texts = append(texts, strings.TrimSpace(line))
			}
		}
	}
	var parts []string
	for _, t := range texts {
		for i := 0; i+n <= len(t); i++ {
			parts = append(parts, t[i:i+n])
		}
	}
	return parts
}

// corrupt damages a file as slips of an editor do, and worse.
func corrupt(t *rapid.T, data []byte) []byte {
	data = slices.Clone(data)
	for range rapid.IntRange(1, 4).Draw(t, "changes") {
		lines := bytes.SplitAfter(data, []byte("\n"))
		i := rapid.IntRange(0, len(lines)-1).Draw(t, "line")
		at := rapid.IntRange(0, len(data)).Draw(t, "at")
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0: // a line goes lost
			lines = slices.Delete(lines, i, i+1)
		case 1: // or comes twice
			lines = slices.Insert(lines, i, lines[i])
		case 2: // or moves to the left
			lines[i] = bytes.TrimLeft(lines[i], " ")
		case 3: // or is indented more
			lines[i] = append([]byte("    "), lines[i]...)
		case 4: // two become one
			lines[i] = bytes.TrimSuffix(lines[i], []byte("\n"))
		case 5: // a piece goes lost
			data = slices.Delete(data, at, min(len(data), at+rapid.IntRange(1, 40).Draw(t, "size")))
			continue
		default: // something is typed
			typed := rapid.SampledFrom([]string{"\"", "'", ": ", ":\n", "\n", "\t", "#", "- ", "{", "}", "[", "|", ">", "&", "*a", "!", "%", "@", "`", "? ", "---\n", "...\n", "\x00", "\xff", "\r", "0x", "<<: "}).Draw(t, "typed")
			data = slices.Insert(data, at, []byte(typed)...)
			continue
		}
		data = bytes.Join(lines, nil)
	}
	return data
}

// Whatever is wrong with a file, what is said of it holds nothing secret.
func TestErrorsShowNoSecrets(t *testing.T) {
	s, _ := created(t)
	data := s.encode()
	parts := secretsOf(s, 6)
	rapid.Check(t, func(t *rapid.T) {
		bad := corrupt(t, data)
		got, err := parse("secrets.yaml", bad)
		said := ""
		if err != nil {
			said = err.Error()
		} else {
			_, err := got.Kubernetes()
			said = strings.Join(got.Notices(), "\n")
			if err != nil {
				said += err.Error()
			}
			if err := got.CheckCluster("villagers"); err != nil {
				said += err.Error()
			}
		}
		for _, p := range parts {
			if strings.Contains(said, p) {
				t.Fatalf("%q is shown:\n%s", p, said)
			}
		}
	})
}
