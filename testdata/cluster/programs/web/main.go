// Command web is both ends of the test of Services: a server that says which pod
// it is, and a client that says what it got.
//
//	web serve     answer on port 80 with the host's name
//	web get URL   print what is there; exit status 1 if nothing is
//	web sleep     wait for the end, so that get can be run in the container
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "web:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		return http.ListenAndServe(":80", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(w, name)
		}))
	case len(args) == 2 && args[0] == "get":
		client := http.Client{Timeout: 20 * time.Second}
		answer, err := client.Get(args[1])
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", args[1], answer.Status)
		}
		_, err = io.Copy(os.Stdout, answer.Body)
		return err
	case len(args) == 1 && args[0] == "sleep":
		end := make(chan os.Signal, 1)
		signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
		<-end
		return nil
	}
	return fmt.Errorf("write serve, get URL or sleep")
}
