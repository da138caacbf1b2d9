package imagebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/imagebuild/secrets"
)

// Plans says what a build would change. Its JSON form is stable: see
// [plan.WriteJSON] for that of the plans.
type Plans struct {
	Base  BaseReport  `json:"base"`
	Time  time.Time   `json:"time"` // of everything that the build would change
	Plans []plan.Plan `json:"plans"`
	// RootSize is what the root partition is enlarged to, in bytes; 0 if it is not.
	RootSize int64 `json:"rootSize,omitempty"`
	// Ranges says how much of the image the plans change.
	Ranges Ranges `json:"ranges"`
}

// Plan makes the plans of the chosen nodes, applies them in memory, and writes
// nothing: where there is no secrets file, what derives from it is derived from
// a placeholder.
func Plan(ctx context.Context, o Options) (_ *Plans, err error) {
	o = o.withDefaults()
	p, err := load(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	missing := ""
	if err := p.decide(ctx, o, newSecrets{
		draw: func(path, cluster string) (*secrets.Secrets, error) {
			missing = path
			return secrets.Placeholder(cluster), nil
		},
		keep: func(drawn *secrets.Secrets) (*secrets.Secrets, error) {
			o.Notice(fmt.Sprintf("there is no %s yet: keys, salts and identifiers are those of a placeholder, and a build will make others", missing))
			return drawn, nil
		},
	}); err != nil {
		return nil, err
	}
	free, err := p.shareLayer(ctx)
	if err != nil {
		return nil, KindPlan.as(err)
	}
	plans, ranges := make([]plan.Plan, len(p.chosen)), make([]int, len(p.chosen))
	err = parallel(o.Jobs, len(p.chosen), func(_, i int) error {
		node, pl, err := p.makeLayer(ctx, p.chosen[i], free)
		plans[i], ranges[i] = p.plans.split.Intern(pl), countRanges(node.layer.Extents())
		return errors.Join(err, node.layer.Close())
	})
	if err != nil {
		return nil, KindPlan.as(err)
	}
	out := &Plans{
		Base: p.baseReport(), Time: p.time, RootSize: p.rootSize, Plans: plans,
		Ranges: Ranges{Size: RangeSize, Shared: countRanges(p.shared.Changed()), Nodes: map[string]int{}},
	}
	for i, pl := range plans {
		out.Ranges.Nodes[pl.Node] = ranges[i]
	}
	return out, nil
}

// WriteText prints the plans for people. The form may change.
func (p *Plans) WriteText(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "base %s, %s %s, sha256 %s\n", p.Base.Name, p.Base.Release, p.Base.Arch, p.Base.SHA256); err != nil {
		return err
	}
	if p.RootSize > 0 {
		if _, err := fmt.Fprintf(w, "the root partition and its file system are enlarged to %d MiB\n", p.RootSize>>20); err != nil {
			return err
		}
	}
	for _, pl := range p.Plans {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := plan.WriteText(w, pl); err != nil {
			return err
		}
	}
	return nil
}
