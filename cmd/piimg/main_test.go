package main

import (
	"encoding/hex"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/piimg/piimg/imagebuild/artifacts/artifactstest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"piimg": main})
}

// TestScripts runs the stories in testdata/script. Beside testscript's own
// commands there are
//
//	exits CODE COMMAND...     the command must end with this exit code
//	base FILE RELEASE         unpack a small image of testdata/images
//	truncate FILE SIZE
//	poke FILE OFFSET HEX      overwrite bytes
//	mode OCTAL FILE           the file must have these permissions
//	fullfs DIR SIZE           mount a small file system there (root only)
//	absent FILE...            nothing may be there
//	internet FILE             serve all publishers' files over TLS, at what INTERNET becomes in FILE
func TestScripts(t *testing.T) {
	images, err := filepath.Abs("../../testdata/images")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("IMAGES", images)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			return cond == "root" && os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"base": func(ts *testscript.TestScript, _ bool, args []string) {
				out, err := os.Create(ts.MkAbs(args[0]))
				ts.Check(err)
				c := exec.Command("xz", "-dc", filepath.Join(images, args[1]+".img.xz"))
				c.Stdout = out
				ts.Check(c.Run())
				ts.Check(out.Close())
			},
			"truncate": func(ts *testscript.TestScript, _ bool, args []string) {
				size, err := strconv.ParseInt(args[1], 0, 64)
				ts.Check(err)
				ts.Check(os.Truncate(ts.MkAbs(args[0]), size))
			},
			"poke": func(ts *testscript.TestScript, _ bool, args []string) {
				f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
				ts.Check(err)
				off, err := strconv.ParseInt(args[1], 0, 64)
				ts.Check(err)
				b, err := hex.DecodeString(args[2])
				ts.Check(err)
				_, err = f.WriteAt(b, off)
				ts.Check(err)
				ts.Check(f.Close())
			},
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
					ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
				}
			},
			"absent": func(ts *testscript.TestScript, _ bool, args []string) {
				for _, name := range args {
					if found, _ := filepath.Glob(ts.MkAbs(name)); len(found) > 0 {
						ts.Fatalf("%q are there", found)
					}
				}
			},
			"fullfs":   mountSmall,
			"internet": internet,
		},
	})
}

// internet serves everything that nodes need, and lets the commands trust it.
func internet(ts *testscript.TestScript, _ bool, args []string) {
	server := httptest.NewTLSServer(artifactstest.Internet())
	ts.Defer(server.Close)
	name := ts.MkAbs("internet.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	ts.Check(os.WriteFile(name, cert, 0o600))
	ts.Setenv("SSL_CERT_FILE", name)
	host := strings.TrimPrefix(server.URL, "https://")
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "INTERNET", host)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := err.(*exec.ExitError)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
