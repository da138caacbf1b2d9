package secrets

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

func TestCreateAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	made, err := Create(path, "villagers")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(path, Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	if s.seed != made.seed || s.Cluster() != "villagers" || s.Path() != path || len(s.Notices()) != 0 {
		t.Errorf("loaded %v with notices %q", s, s.Notices())
	}
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"villagers", "Do not commit", "backup", "version: 1"} {
		if !bytes.Contains(data, []byte(word)) {
			t.Errorf("the file does not say %q:\n%s", word, data)
		}
	}
	if _, err := Create(path, "villagers"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(data, after) {
		t.Error("a second Create changed the file")
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

func TestCreateWithoutHardLinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	if err := writeExclusive(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := writeExclusive(path, []byte("y")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second write: %v", err)
	}
}

func TestCreateFails(t *testing.T) {
	if _, err := Create(filepath.Join(t.TempDir(), "no", "secrets.yaml"), "c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is not there: %v", err)
	}
	path := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("nowhere", path); err == nil {
		if _, err := Create(path, "c"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("over a dangling link: %v", err)
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "s"), "a\x00b"); err == nil {
		t.Error("a name that YAML cannot hold was taken")
	}
}

// TestLoadOrCreateAtOnce races processes, if it can start some, and goroutines.
func TestLoadOrCreateAtOnce(t *testing.T) {
	if path := os.Getenv("PIIMG_TEST_SECRETS"); path != "" {
		s, created, err := LoadOrCreate(path, "villagers", Unlock{})
		if err != nil {
			t.Fatal(err)
		}
		word := "found"
		if created {
			word = "created"
		}
		_, _ = os.Stdout.WriteString(word + " " + base64.StdEncoding.EncodeToString(s.seed[:]) + "\n")
		return
	}
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	var mu sync.Mutex
	var wg sync.WaitGroup
	seeds, creators := map[string]int{}, 0
	for range 8 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestLoadOrCreateAtOnce$")
			cmd.Env = append(os.Environ(), "PIIMG_TEST_SECRETS="+path)
			out, err := cmd.Output()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for line := range strings.Lines(string(out)) {
				word, seed, _ := strings.Cut(strings.TrimSpace(line), " ")
				if word == "created" || word == "found" {
					seeds[seed]++
				}
				if word == "created" {
					creators++
				}
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			s, created, err := LoadOrCreate(path, "villagers", Unlock{})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			seeds[base64.StdEncoding.EncodeToString(s.seed[:])]++
			if created {
				creators++
			}
		})
	}
	wg.Wait()
	if len(seeds) != 1 || creators != 1 {
		t.Errorf("%d different seeds, %d creators", len(seeds), creators)
	}
	for _, n := range seeds {
		if n != 12 {
			t.Errorf("%d of 12 got the secrets", n)
		}
	}
	if _, _, err := LoadOrCreate(path, "others", Unlock{}); !errors.As(err, new(*ClusterError)) {
		t.Errorf("secrets of another cluster: %v", err)
	}
}

const secretSeed = "hunter2hunter2hunter2hunter2hunter2hunter20="

func TestBadFiles(t *testing.T) {
	for name, test := range map[string]struct{ data, want string }{
		"empty":         {"", "the file is empty"},
		"blank":         {" \n\n", "restore it from a backup"},
		"identity":      {"AGE-SECRET-KEY-1hunter2", "must be a mapping, not text"},
		"passphrase":    {"hunter2\n", "must be a mapping, not text"},
		"quoted":        {"\"hunter2\"\n", "must be a mapping, not text"},
		"list of text":  {"[hunter2]\n", "must be a mapping, not a list"},
		"recipient":     {"version: 1\ncluster: c\nseed: " + secretSeed + "\nrecipients: [AGE-SECRET-KEY-1hunter2]\n", "this is a secret key"},
		"wrong version": {"version: 2\ncluster: c\nseed: " + secretSeed + "\n", "version 2 is not known"},
		"text version":  {"version: one\ncluster: c\nseed: " + secretSeed + "\n", "must be a whole number"},
		"no seed":       {"version: 1\ncluster: c\n", "openssl rand -base64 32"},
		"short seed":    {"version: 1\ncluster: c\nseed: aHVudGVyMg==\n", "the seed has 7 bytes; it must have 32"},
		"no base64":     {"version: 1\ncluster: c\nseed: \"hunter2 hunter2\"\n", "the seed is not base64"},
		"zero seed":     {"version: 1\ncluster: c\nseed: " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n", "all zeros"},
		"list":          {"version: 1\ncluster: c\nseed: [" + secretSeed + "]\n", "must be text, not a list"},
		"no cluster":    {"version: 1\ncluster: \"\"\nseed: " + secretSeed + "\n", "the name is empty"},
		"unknown key":   {"version: 1\ncluster: c\nsed: " + secretSeed + "\n", "did you mean seed?"},
		"twice":         {"version: 1\ncluster: c\nseed: " + secretSeed + "\nseed: " + secretSeed + "\n", "given twice"},
		"broken":        {"version: 1\ncluster: c\nseed: \"" + secretSeed + "\n", "not valid YAML"},
		"broken below":  {"version: 1\ncluster: c\nseed:\n  " + secretSeed + "\n : x\n", "not valid YAML"},
		"age":           {"age-encryption.org/v1\n-> X25519 hunter2\n", "cannot be decrypted, since it is damaged"},
		"armoured age":  {"-----BEGIN AGE ENCRYPTED FILE-----\nhunter2\n", "cannot be decrypted, since it is damaged"},
		"binary":        {"\x00\x01\x02hunter2", "UTF-16"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "secrets.yaml")
			if err := os.WriteFile(path, []byte(test.data), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path, Unlock{})
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("want %q, got: %v", test.want, err)
			}
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "aHVu") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "secrets.yaml"), Unlock{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestLooseModeIsNoticed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes on Windows")
	}
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	if _, err := Create(path, "c"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	s, err := Load(path, Unlock{})
	if err != nil || len(s.Notices()) != 1 || !strings.Contains(s.Notices()[0], "chmod 600") {
		t.Errorf("%v: %q", err, s.Notices())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(testSecrets("villagers").encode())
	full := testSecrets("villagers")
	full.setTokenSeed(full.seed[:])
	full.kubernetes = Placeholder("villagers").kubernetes
	full.recipients = []string{"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"}
	f.Add(full.encode())
	f.Add([]byte("version: 1\ncluster: [a]\nseed: {x: y}\nseed:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse("secrets.yaml", data)
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if err == nil {
			again, err := parse("secrets.yaml", s.encode())
			if err != nil || !bytes.Equal(again.encode(), s.encode()) {
				t.Fatalf("written and read again: %v", err)
			}
		}
	})
}

func FuzzDecrypt(f *testing.F) {
	const recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
	f.Add([]byte("age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\nAAAA\n--- AAAA\n"), "AGE-SECRET-KEY-1")
	if data, err := (Encryption{Recipients: []string{recipient}}).encrypt([]byte("version: 1\n")); err == nil {
		f.Add(data, recipient)
	}
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		s, err := Parse("secrets.yaml", data, fixed(key, key))
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		_, _ = ParseRecipients("team", data)
		_, _ = parseRecipient(key)
	})
}
