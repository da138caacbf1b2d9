package imagebuild

import (
	"errors"
	"fmt"
	"strings"
)

// maxNamed is how many nodes a message names.
const maxNamed = 8

// someOf lists names, or the first of them if they are many.
func someOf(names []string) string {
	if len(names) <= maxNamed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d others", strings.Join(names[:maxNamed-1], ", "), len(names)-maxNamed+1)
}

// nodeErrors collects what is wrong with nodes. What is wrong with many of them in
// the same way is told once.
type nodeErrors struct {
	all   []nodeError
	nodes map[string][]string // by message
}

type nodeError struct {
	err     error
	message string // without the node
}

// add notes what is wrong with a node; err may be several errors.
func (e *nodeErrors) add(hostname string, err error) {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			e.add(hostname, err)
		}
		return
	}
	if e.nodes == nil {
		e.nodes = map[string][]string{}
	}
	message := strings.TrimPrefix(err.Error(), "node "+hostname+": ")
	e.nodes[message] = append(e.nodes[message], hostname)
	if len(e.nodes[message]) <= maxNamed {
		e.all = append(e.all, nodeError{err, message})
	}
}

// err returns all errors, in the order in which they were added; nil if there are none.
func (e *nodeErrors) err() error {
	var errs []error
	told := map[string]bool{}
	for _, one := range e.all {
		names := e.nodes[one.message]
		switch {
		case len(names) <= maxNamed:
			errs = append(errs, one.err)
		case !told[one.message]:
			told[one.message] = true
			errs = append(errs, &manyError{fmt.Sprintf("nodes %s: %s", someOf(names), one.message), one.err})
		}
	}
	return errors.Join(errs...)
}

// manyError is an error of many nodes; it wraps that of the first one.
type manyError struct {
	text  string
	first error
}

func (e *manyError) Error() string { return e.text }
func (e *manyError) Unwrap() error { return e.first }
