package imagebuild

import (
	"context"
	"errors"

	"github.com/piimg/piimg/imagebuild/kube"
	"github.com/piimg/piimg/imagebuild/nodes"
	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/raspios"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// planning makes the plans of a cluster's nodes, each as often as it is asked for:
// of thousands of nodes it holds what they share, and of each one little.
type planning struct {
	config *nodes.Config
	files  *filesystems // of the base image, which does not change any more
	input  raspios.Input
	kube   kube.Input
	split  *plan.Splitter
	// notices are those of the plans, by node; edits how many a plan has.
	notices [][]string
	edits   []int
}

// planAll plans all nodes, also those that are not wanted now: a mistake in one is
// told at once, and what the nodes share does not depend on the choice.
func (p *prepared) planAll(ctx context.Context, o Options, s *secrets.Secrets) (_ *planning, err error) {
	files, err := p.parts.open(p.base, true, p.time)
	if err != nil {
		return nil, KindImage.as(err)
	}
	n := len(p.config.Nodes)
	all := &planning{
		config: p.config, files: files, split: &plan.Splitter{}, notices: make([][]string, n), edits: make([]int, n),
		kube: kube.Input{Config: p.config, Facts: p.facts, Secrets: s, Artifacts: p.artifacts},
		input: raspios.Input{
			Config: p.config, Facts: p.facts, Boot: files.boot, Root: files.root, Secrets: s,
			Shared:  raspios.NewShared(p.config, files.boot, files.root),
			Base:    raspios.BaseInfo{Name: p.baseName(), SHA256: p.sha256},
			Version: o.Version, Time: p.time,
		},
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, all.close())
		}
	}()
	type result struct {
		node int
		plan plan.Plan
		err  error
	}
	var wrong nodeErrors
	same := map[string]string{} // notices, one of each
	err = inOrder(ctx, n, o.Jobs, func(_ context.Context, i int) (result, error) {
		pl, err := all.plan(i)
		return result{i, pl, err}, nil
	}, func(r result) error {
		if r.err != nil {
			wrong.add(p.config.Nodes[r.node].Hostname, r.err)
			return nil
		}
		all.edits[r.node] = len(r.plan.Edits)
		for _, text := range r.plan.Notices {
			if same[text] == "" {
				same[text] = text
			}
			all.notices[r.node] = append(all.notices[r.node], same[text])
		}
		if len(wrong.all) == 0 {
			all.split.Add(r.plan)
		}
		return nil
	})
	if err == nil {
		err = KindConfig.as(wrong.err())
	}
	return all, err
}

// plan makes the plan of a node.
func (a *planning) plan(i int) (plan.Plan, error) {
	k, in := a.kube, a.input
	k.Node, in.Node = a.config.Nodes[i], a.config.Nodes[i]
	cluster, err := kube.Plan(k)
	in.Additions = []raspios.Addition{cluster}
	pl, err2 := raspios.Plan(in)
	return pl, errors.Join(err, err2)
}

// own makes the plan of a node, and says what of it is not shared by all.
func (a *planning) own(i int) (pl plan.Plan, own []plan.Edit, err error) {
	if pl, err = a.plan(i); err == nil {
		own, err = a.split.Own(pl)
	}
	return pl, own, err
}

func (a *planning) close() error { return a.files.close() }

// tell passes on the notices of the chosen nodes: one that holds for several of
// them once.
func (a *planning) tell(chosen []int, notice func(string)) {
	hostnames := map[string][]string{}
	var order []string
	for _, i := range chosen {
		for _, n := range a.notices[i] {
			if hostnames[n] == nil {
				order = append(order, n)
			}
			hostnames[n] = append(hostnames[n], a.config.Nodes[i].Hostname)
		}
	}
	for _, n := range order {
		if len(hostnames[n]) == len(chosen) {
			notice(n)
		} else {
			notice(someOf(hostnames[n]) + ": " + n)
		}
	}
}
