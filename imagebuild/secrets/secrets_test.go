package secrets

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/piimg/piimg/imagebuild/tooltest"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew; only for values that no released version derives")

// testSeed is 00 01 02 … 1f.
func testSecrets(cluster string) *Secrets {
	var seed [SeedSize]byte
	for i := range seed {
		seed[i] = byte(i)
	}
	return newSecrets("secrets.yaml", cluster, seed)
}

// vectors pins derived values. A change to any of them changes every image and
// every host key that users have.
type vectors struct {
	Seed     string              `json:"seed"`
	Derive   []deriveVector      `json:"derive"`
	Salt     map[string]string   `json:"salt"`
	UUID     map[string]string   `json:"uuid"`
	HostKeys map[string][]string `json:"hostKeys"` // hostname: private files and public lines

	ECDSA  map[string]string `json:"ecdsa"`  // label: private key, hex
	Tokens map[string]string `json:"tokens"` // hostname: token, from the same seed
	CA     string            `json:"ca"`     // the placeholder's certificate
}

type deriveVector struct {
	N      int      `json:"n"`
	Labels []string `json:"labels"`
	Hex    string   `json:"hex"`
}

func TestVectors(t *testing.T) {
	s := testSecrets("villagers")
	got := vectors{Seed: hex.EncodeToString(s.seed[:]), Salt: map[string]string{}, UUID: map[string]string{}, HostKeys: map[string][]string{}}
	for _, v := range []deriveVector{{N: 32}, {N: 1, Labels: []string{""}}, {N: 48, Labels: []string{"a"}}, {N: 16, Labels: []string{"a", "b"}}, {N: 16, Labels: []string{"ab"}}} {
		v.Hex = hex.EncodeToString(s.Derive(v.N, v.Labels...))
		got.Derive = append(got.Derive, v)
	}
	for _, l := range []string{"isabelle", "blathers"} {
		got.Salt[l], got.UUID[l] = s.Salt(l), s.UUID(l)
		keys, err := s.HostKeys(l)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			got.HostKeys[l] = append(got.HostKeys[l], k.Name, string(k.Private), k.Public)
		}
	}
	s.setTokenSeed(s.seed[:])
	got.ECDSA, got.Tokens = map[string]string{}, map[string]string{}
	for _, l := range []string{"isabelle", "blathers", ""} {
		raw, err := s.ECDSAKey(l).Bytes()
		if err != nil {
			t.Fatal(err)
		}
		got.ECDSA[l], got.Tokens[l] = hex.EncodeToString(raw), s.BootstrapToken(l).Reveal()
	}
	got.CA = string(Placeholder("villagers").kubernetes.CA.Cert)
	data, err := json.MarshalIndent(got, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	if *update {
		if err := os.WriteFile("testdata/vectors.json", data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("derived values have changed:\n%s", data)
	}
}

func TestLabelsAreUnambiguous(t *testing.T) {
	s := testSecrets("villagers")
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.StringMatching(`[ab\x00]{0,3}`), 0, 4)
		a, b := labels.Draw(t, "a"), labels.Draw(t, "b")
		same := bytes.Equal(s.Derive(16, a...), s.Derive(16, b...))
		if equal := fmt.Sprintf("%q", a) == fmt.Sprintf("%q", b); same != equal {
			t.Fatalf("%q and %q: same bytes %v", a, b, same)
		}
		if long := s.Derive(100, a...); !bytes.HasPrefix(long, s.Derive(16, a...)) {
			t.Fatal("fewer bytes are not the beginning of more")
		}
	})
	if n := len(s.Derive(MaxDerive, "x")); n != MaxDerive {
		t.Errorf("%d bytes instead of %d", n, MaxDerive)
	}
	if s.Derive(0, "x") != nil {
		t.Error("bytes where none were asked for")
	}
}

// TestDeriveIsHKDF compares with openssl, given the info bytes as they are
// specified.
func TestDeriveIsHKDF(t *testing.T) {
	openssl := tooltest.Path(t, "openssl")
	s := testSecrets("villagers")
	info := append([]byte{0, 0, 0, 0, 0, 0, 0, 1}, 'a')
	info = append(append(info, 0, 0, 0, 0, 0, 0, 0, 2), "bc"...)
	out, err := exec.Command(openssl, "kdf", "-keylen", "48", "-kdfopt", "digest:SHA256",
		"-kdfopt", "hexkey:"+hex.EncodeToString(s.seed[:]), "-kdfopt", "hexsalt:"+hex.EncodeToString([]byte("piimg secrets version 1")),
		"-kdfopt", "hexinfo:"+hex.EncodeToString(info), "HKDF").CombinedOutput()
	if err != nil {
		t.Skipf("openssl has no kdf command: %s", out)
	}
	want := strings.ToLower(strings.ReplaceAll(strings.TrimSpace(string(out)), ":", ""))
	if got := hex.EncodeToString(s.Derive(48, "a", "bc")); got != want {
		t.Errorf("%s, but openssl says %s", got, want)
	}
}

func TestForms(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	salt := regexp.MustCompile(`^[./0-9A-Za-z]{16}$`)
	s := testSecrets("villagers")
	seen := map[string]bool{}
	for i := range 200 {
		u, x := s.UUID("node", fmt.Sprint(i)), s.Salt("node", fmt.Sprint(i))
		if !uuid.MatchString(u) || !salt.MatchString(x) {
			t.Fatalf("%q or %q has a wrong form", u, x)
		}
		if seen[u] || seen[x] {
			t.Fatalf("%q or %q came twice", u, x)
		}
		seen[u], seen[x] = true, true
	}
	if strings.HasPrefix(fmt.Sprintf("%x", s.Derive(16, "node", "1")), s.UUID("node", "1")[:8]) {
		t.Error("UUIDs and other bytes share a domain")
	}
}

func TestNothingPrintsSecrets(t *testing.T) {
	s := testSecrets("villagers")
	keys, err := s.HostKeys("isabelle")
	if err != nil {
		t.Fatal(err)
	}
	k, token := Placeholder("villagers").kubernetes, s.BootstrapToken("isabelle")
	if token.Reveal() != "" {
		t.Error("a token without a seed")
	}
	token = Placeholder("villagers").BootstrapToken("isabelle")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%T"} {
		for _, v := range []any{s, keys[0].Private, &keys[0].Private, token, &token, *k, k, k.CA, &k.CA} {
			out := fmt.Sprintf(verb, v)
			for _, leak := range []string{"PRIVATE KEY", hex.EncodeToString(s.seed[:4]), "0 1 2 3", hex.EncodeToString([]byte("PRIVATE")), "80 82 73 86 65 84 69", token.secret, token.id} {
				if strings.Contains(strings.ToLower(out), strings.ToLower(leak)) {
					t.Errorf("%s of %T shows a secret: %.60s", verb, v, out)
				}
			}
		}
	}
	if out, _ := json.Marshal(map[string]any{"s": s, "k": keys}); strings.Contains(string(out), "BEGIN") || !strings.Contains(string(out), `secret`) {
		t.Errorf("JSON shows a secret: %s", out)
	}
	if out := fmt.Sprintf("%v", (*Secrets)(nil)); out != "secrets of none" {
		t.Errorf("nil prints as %q", out)
	}
}

func TestCheckCluster(t *testing.T) {
	s := testSecrets("villagers")
	if err := s.CheckCluster("villagers"); err != nil {
		t.Error(err)
	}
	err := s.CheckCluster("others")
	if err == nil || !strings.Contains(err.Error(), `"villagers"`) || !strings.Contains(err.Error(), `"others"`) || !strings.Contains(err.Error(), "--secrets") {
		t.Errorf("unhelpful: %v", err)
	}
}
