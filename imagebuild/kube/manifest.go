package kube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// checkManifest returns an error unless data is a stream of Kubernetes objects.
func checkManifest(data []byte) error {
	objects := 0
	err := eachDocument(data, func(doc any) error {
		if doc == nil { // nothing but comments
			return nil
		}
		objects++
		m, ok := doc.(map[string]any)
		if !ok || m["apiVersion"] == nil || m["kind"] == nil {
			return fmt.Errorf("its document %d is no Kubernetes object: it has no apiVersion and kind", objects)
		}
		return nil
	})
	if err == nil && objects == 0 {
		err = errors.New("it is empty")
	}
	return err
}

// manifestImages returns the container images that the objects of a manifest
// name, in full and sorted.
func manifestImages(data []byte) []string {
	var refs []string
	_ = eachDocument(data, func(doc any) error { // what is wrong with it is reported by checkManifest
		refs = appendImages(refs, doc)
		return nil
	})
	slices.Sort(refs)
	return slices.Compact(refs)
}

func eachDocument(data []byte, do func(any) error) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc any
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := do(doc); err != nil {
			return err
		}
	}
}

// appendImages collects what is called image in lists of containers.
func appendImages(refs []string, v any) []string {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			refs = appendImages(refs, e)
		}
	case map[string]any:
		for key, e := range v {
			if key == "containers" || key == "initContainers" {
				refs = appendContainers(refs, e)
				continue
			}
			refs = appendImages(refs, e)
		}
	}
	return refs
}

func appendContainers(refs []string, v any) []string {
	list, _ := v.([]any)
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			if ref, ok := m["image"].(string); ok && ref != "" {
				refs = append(refs, fullReference(ref))
			}
		}
	}
	return refs
}

// fullReference returns a reference with its registry and tag, as container
// runtimes complete it: "calico/node" is docker.io/calico/node:latest.
func fullReference(ref string) string {
	first, _, more := strings.Cut(ref, "/")
	switch {
	case !more:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		ref = "docker.io/" + ref
	}
	if last := ref[strings.LastIndexByte(ref, '/')+1:]; !strings.ContainsAny(last, ":@") {
		ref += ":latest"
	}
	return ref
}
