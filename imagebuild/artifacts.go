package imagebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/piimg/piimg/imagebuild/artifacts"
	"github.com/piimg/piimg/imagebuild/artifacts/pull"
	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/nodes"
)

// Artifacts says what the nodes of a cluster need beside their images. Its JSON
// form is stable; fields may be added.
type Artifacts struct {
	// Dir is the folder of artifacts, absolute; "" if nodes.yaml names none, and
	// the nodes download what they need.
	Dir          string   `json:"dir,omitempty"`
	Release      string   `json:"release"`      // of the base image
	Architecture string   `json:"architecture"` // of the base image, as dpkg names it
	Nodes        []string `json:"nodes"`        // that take part in the cluster
	// Artifacts are in the order in which the nodes need them.
	Artifacts []Artifact `json:"artifacts"`
	// Problems are what is wrong with the folder.
	Problems []string `json:"problems,omitempty"`
}

// Artifact is one thing that nodes need.
type Artifact struct {
	artifacts.Requirement
	From  string   `json:"from,omitempty"` // where it is fetched from; "" if not by piimg
	Nodes []string `json:"nodes"`          // that need it
	State State    `json:"state"`
	// File is the file of the folder that meets it, slash-separated.
	File string `json:"file,omitempty"`
	// Size is that of the file, or of the one that artifacts.lock names, in bytes; 0 if neither is known.
	Size int64 `json:"size,omitempty"`
}

// State says whether something that is needed is there.
type State string

// The states.
const (
	InFolder State = "folder"     // the folder of artifacts has it
	OnBase   State = "base image" // the base image has it
	Missing  State = "missing"
)

// Pulled says what [ArtifactsPull] did.
type Pulled struct {
	Dir     string       `json:"dir"`
	Fetched []PulledFile `json:"fetched"`
	// Missing are the required things that piimg does not fetch, and that are
	// still not there, each with the way to get it.
	Missing []string `json:"missing,omitempty"`
	// Problems are what is wrong with the folder now.
	Problems []string `json:"problems,omitempty"`
}

// PulledFile is one file that was fetched.
type PulledFile struct {
	File   string `json:"file"` // in the folder, slash-separated
	From   string `json:"from"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// ArtifactsList says what the nodes of a nodes.yaml need beside their images, and
// which of it is there.
func ArtifactsList(ctx context.Context, o Options) (_ *Artifacts, err error) {
	n, err := needsOf(ctx, o.withDefaults())
	if err != nil {
		return nil, err
	}
	out := &Artifacts{Dir: n.config.Kubernetes.Artifacts, Release: n.release, Architecture: n.arch, Nodes: n.nodes, Artifacts: n.list}
	set := &artifacts.Set{}
	if out.Dir != "" {
		var problems []artifacts.Problem
		set, problems, err = artifacts.Survey(ctx, out.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			set = &artifacts.Set{Dir: out.Dir}
		case err != nil:
			return nil, KindConfig.as(err)
		}
		if len(set.Items) > 0 || len(problems) > 1 { // that it is empty says the list
			out.Problems = artifacts.Texts(set.Dir, problems)
		}
	}
	set = set.On(n.installed)
	for i := range out.Artifacts {
		out.Artifacts[i].find(set)
	}
	return out, nil
}

// find fills in what the folder and the base image say of the artifact.
func (a *Artifact) find(set *artifacts.Set) {
	a.State = Missing
	if it, ok := set.Meeting(a.Requirement); ok {
		a.State, a.File, a.Size = InFolder, it.Rel, it.Size
		return
	}
	if set.OnBase(a.Requirement) {
		a.State = OnBase
		return
	}
	for _, l := range set.Lock.Files {
		if l.Kind == a.Kind && l.Name == a.Name && l.Arch == a.Arch && l.From == a.From {
			a.Size = l.Size
		}
	}
}

// ArtifactsPull fetches what the nodes need and their folder of artifacts has not,
// and locks it. With update, what is locked is fetched and locked anew.
func ArtifactsPull(ctx context.Context, o Options, update bool) (*Pulled, error) {
	o = o.withDefaults()
	n, err := needsOf(ctx, o)
	if err != nil {
		return nil, err
	}
	k := n.config.Kubernetes
	if k.Artifacts == "" {
		return nil, KindConfig.as(fmt.Errorf("%s: there is no folder to pull into: write artifacts: ./artifacts below kubernetes", k.Place))
	}
	var requirements []artifacts.Requirement
	for _, a := range n.list {
		requirements = append(requirements, a.Requirement)
	}
	result, err := pull.Run(ctx, pull.Options{
		Dir: k.Artifacts, Requirements: requirements, Installed: n.installed, Binaries: k.Mirrors.Binaries,
		Update: update, CacheDir: o.CacheDir, Client: o.Client, Notice: o.Notice, Progress: o.Progress,
	})
	if err != nil {
		return nil, KindOther.as(err)
	}
	out := &Pulled{Dir: k.Artifacts, Fetched: []PulledFile{}}
	for _, l := range result.Fetched {
		out.Fetched = append(out.Fetched, PulledFile{File: l.Rel, From: l.From, Size: l.Size, SHA256: fmt.Sprintf("%x", l.SHA256)})
	}
	for _, r := range result.Missing {
		out.Missing = append(out.Missing, fmt.Sprintf("%s: %s", r, r.Remedy()))
	}
	set, problems, err := artifacts.Survey(ctx, k.Artifacts)
	if err != nil {
		return nil, err
	}
	out.Problems = artifacts.Texts(set.Dir, problems)
	return out, nil
}

// needs is what decides which artifacts a cluster needs.
type needs struct {
	config        *nodes.Config
	release, arch string
	installed     map[string]string
	nodes         []string   // that take part in the cluster
	list          []Artifact // without what the folder says of them
}

// needsOf reads nodes.yaml, and from the base image what it is.
func needsOf(ctx context.Context, o Options) (_ *needs, err error) {
	config, err := nodes.Load(o.NodesFile, nodes.Env{Lookup: o.Env})
	if err != nil {
		return nil, KindConfig.as(err)
	}
	if config.Kubernetes == nil {
		return nil, KindConfig.as(fmt.Errorf("%s has no kubernetes block: its nodes need no artifacts", config.Path))
	}
	p := &prepared{config: config}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.openImage(ctx, o); err != nil {
		return nil, KindImage.as(err)
	}
	if err := kube.Check(config, p.facts, complete(config, p.facts.Architecture)); err != nil {
		return nil, KindConfig.as(err)
	}
	n := &needs{config: config, release: string(p.facts.Release), arch: p.facts.Architecture, installed: p.facts.Installed}
	for _, node := range config.Nodes {
		if node.InCluster() {
			n.nodes = append(n.nodes, node.Hostname)
		}
		for _, r := range kube.Requirements(config, n.arch, node) {
			n.add(r, node.Hostname)
		}
	}
	slices.SortStableFunc(n.list, func(a, b Artifact) int { return cmp.Compare(kindRank(a.Kind), kindRank(b.Kind)) })
	return n, nil
}

// complete returns what the folder of artifacts will have once it holds the programs
// that piimg fetches; nil without a folder. What is asked of the folder is asked
// before it is filled: otherwise it could not be filled with a containerd that the
// base image's release does not have.
func complete(config *nodes.Config, arch string) *artifacts.Set {
	if config.Kubernetes.Artifacts == "" {
		return nil
	}
	set := &artifacts.Set{}
	for _, node := range config.Nodes {
		for _, r := range kube.Requirements(config, arch, node) {
			if r.Kind == artifacts.Binary {
				set.Items = append(set.Items, artifacts.Item{Kind: r.Kind, Name: r.Name, Version: r.Version, Arch: arch})
			}
		}
	}
	return set
}

// add notes that a node needs something.
func (n *needs) add(r artifacts.Requirement, node string) {
	i := slices.IndexFunc(n.list, func(a Artifact) bool { return a.Kind == r.Kind && a.Name == r.Name && a.Version == r.Version })
	if i < 0 {
		n.list = append(n.list, Artifact{Requirement: r, From: artifacts.Upstream(r, n.config.Kubernetes.Mirrors.Binaries), Nodes: []string{}})
		i = len(n.list) - 1
	}
	a := &n.list[i]
	a.Optional = a.Optional && r.Optional
	a.Nodes = append(a.Nodes, node)
}

func kindRank(k artifacts.Kind) int {
	return slices.Index([]artifacts.Kind{artifacts.Binary, artifacts.CNIPlugin, artifacts.Deb, artifacts.Image}, k)
}
