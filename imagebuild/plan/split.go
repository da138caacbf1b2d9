package plan

// Split divides the plans of a build into what all nodes share, which is applied
// once, and what is each node's own (own[i] belongs to plans[i]), which is
// applied on top. Applying shared and then own[i] leaves the same files as
// applying plans[i].Edits at once. With fewer than two plans nothing is shared.
//
// The division depends on the plans given: to get the same bytes for a node
// whichever nodes are selected, split the plans of all nodes.
func Split(plans []Plan) (shared []Edit, own [][]Edit) {
	own = make([][]Edit, len(plans))
	if len(plans) < 2 {
		for i, p := range plans {
			own[i] = append([]Edit(nil), p.Edits...)
		}
		return nil, own
	}

	common := map[key]Edit{}
	for _, e := range plans[0].Edits {
		common[e.key()] = e
	}
	for _, p := range plans[1:] {
		theirs := map[key]Edit{}
		for _, e := range p.Edits {
			theirs[e.key()] = e
		}
		for k, e := range common {
			if o, ok := theirs[k]; !ok || !e.Same(o) {
				delete(common, k)
			}
		}
	}
	// A rename or removal that is a node's own is carried out after all that is
	// shared, although in one step it comes first: what it would then meet must
	// not be there yet. Each edit that loses its place may push out others.
	for again := true; again; {
		again = false
		early := ownEarly(plans, common)
		for k, e := range common {
			if overtaken(e, early) {
				delete(common, k)
				again = true
			}
		}
	}

	for i, p := range plans {
		for _, e := range p.Edits {
			if _, ok := common[e.key()]; !ok {
				own[i] = append(own[i], e)
			}
		}
	}
	for _, e := range plans[0].Edits {
		if _, ok := common[e.key()]; ok {
			shared = append(shared, e)
		}
	}
	return shared, own
}

// ownEarly returns the renames and removals that are not shared.
func ownEarly(plans []Plan, common map[key]Edit) []Edit {
	var early []Edit
	for _, p := range plans {
		for _, e := range p.Edits {
			if e.Op != Remove && e.Op != Rename {
				continue
			}
			if _, ok := common[e.key()]; !ok {
				early = append(early, e)
			}
		}
	}
	return early
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
