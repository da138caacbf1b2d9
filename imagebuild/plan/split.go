package plan

import (
	"errors"
	"fmt"
)

// Splitter divides the plans of a build into what all nodes share, which is
// applied once, and what is each node's own, which is applied on top. It takes the
// plans one after the other, and holds of each only what it shares with those
// before it: the plans of a large cluster need not be there at once.
//
// Applying what is shared and then a node's own leaves the same files as applying
// the node's edits at once. With fewer than two plans nothing is shared. The
// division depends on the plans added: to get the same bytes for a node whichever
// nodes are selected, add the plans of all nodes.
type Splitter struct {
	plans  int
	first  []Edit // of the first plan, in its order
	common map[key]Edit
	// early are the renames and removals of all plans, one of each.
	early map[earlyEdit]Edit
	uses  map[place]*use
	ready bool // whether common is final
}

// Split returns a Splitter of all the plans.
func Split(plans []Plan) *Splitter {
	s := &Splitter{}
	for _, p := range plans {
		s.Add(p)
	}
	return s
}

// earlyEdit is what tells renames and removals apart.
type earlyEdit struct {
	place
	op   Op
	from string
}

// Add takes the next plan. The first one's edits are kept.
func (s *Splitter) Add(p Plan) {
	if s.ready {
		panic("plan: a plan is added to what was divided already")
	}
	if s.plans == 0 {
		s.first, s.common = p.Edits, make(map[key]Edit, len(p.Edits))
		s.early, s.uses = map[earlyEdit]Edit{}, map[place]*use{}
		for _, e := range p.Edits {
			s.common[e.key()] = e
		}
	} else {
		s.keepCommon(p.Edits)
	}
	s.plans++
	for _, e := range p.Edits {
		at := place{e.Partition, e.Path}
		s.use(at).count(e)
		if e.Op == Remove || e.Op == Rename {
			s.early[earlyEdit{at, e.Op, e.From}] = e
		}
	}
}

// keepCommon leaves of what is common what these edits have as well.
func (s *Splitter) keepCommon(edits []Edit) {
	found := make(map[key]bool, len(s.common))
	for _, e := range edits {
		if c, ok := s.common[e.key()]; ok && c.Same(e) {
			found[e.key()] = true
		}
	}
	for k := range s.common {
		if !found[k] {
			delete(s.common, k)
		}
	}
}

// divide decides what is shared.
func (s *Splitter) divide() {
	if s.ready {
		return
	}
	s.ready = true
	if s.plans < 2 {
		s.common = nil
		return
	}
	// A rename or removal that is a node's own is carried out after all that is
	// shared, although in one step it comes first: what it would then meet must
	// not be there yet. Each edit that loses its place may push out others.
	for again := true; again; {
		again = false
		early := s.ownEarly()
		for k, e := range s.common {
			if overtaken(e, early) {
				delete(s.common, k)
				again = true
			}
		}
	}
}

// ownEarly returns the renames and removals that are not shared.
func (s *Splitter) ownEarly() (early []Edit) {
	for _, e := range s.early {
		if _, shared := s.common[e.key()]; !shared {
			early = append(early, e)
		}
	}
	return early
}

// Shared returns what is applied for all nodes at once. After it no plan can be
// added.
func (s *Splitter) Shared() (shared []Edit) {
	s.divide()
	for _, e := range s.first {
		if _, ok := s.common[e.key()]; ok {
			shared = append(shared, e)
		}
	}
	return shared
}

// Own returns what of a plan is applied on top of what is shared. The plan was
// added before, or made anew from the same: it is an error if it has not what all
// had.
func (s *Splitter) Own(p Plan) (own []Edit, err error) {
	s.divide()
	shared := 0
	for _, e := range p.Edits {
		switch c, ok := s.common[e.key()]; {
		case !ok:
			own = append(own, e)
		case c.Same(e):
			shared++
		default:
			return nil, fmt.Errorf("%v: what it leaves has changed since the plans were made; is a file that nodes.yaml names being written?", e)
		}
	}
	if shared != len(s.common) {
		return nil, errors.New("the plan lacks edits that it had when the plans were made; is a file that nodes.yaml names being written?")
	}
	return own, nil
}

// Intern returns a plan in which what it shares with all others is not there once
// more, and neither is content that is too long to be printed: of that, the size and
// the hash are left. It is for plans of many nodes that are to be shown.
func (s *Splitter) Intern(p Plan) Plan {
	s.divide()
	for i, e := range p.Edits {
		c, shared := s.common[e.key()]
		switch {
		case shared && c.Same(e):
			p.Edits[i].Content = c.Content
		case e.Source == nil && len(e.Content) > maxJSONShown:
			p.Edits[i].Source, p.Edits[i].Content = &Source{Size: e.Size(), SHA256: e.SHA256()}, nil
		}
	}
	return p
}

// overtaken reports whether one of the early edits must come before e and
// concerns the same files.
func overtaken(e Edit, early []Edit) bool {
	path := e.key().path
	for _, o := range early {
		switch {
		case o.Partition != e.Partition:
		case o.Op == Remove && below(path, o.key().path):
			return true
		case o.Op == Rename && (touches(e, o.Path) || touches(e, o.From)):
			return true
		}
	}
	return false
}

// touches reports whether the edit concerns the path, something below it, or a
// folder that leads to it.
func touches(e Edit, path string) bool {
	path = keyOf(e.Partition, path).path
	for _, p := range [...]string{e.Path, e.From} {
		p = keyOf(e.Partition, p).path
		if p != "" && (within(p, path) || below(path, p)) {
			return true
		}
	}
	return false
}
