package artifacts

import "github.com/piimg/piimg/imagebuild/plan"

// Check returns an error that names every requirement that the folder does not
// meet, and what to do about it.
func (s *Set) Check(requirements []Requirement) error { return nil }

// For returns the files that a node with the requirements gets: those that meet
// one, and the packages of the folder that those depend on. They are sorted by Rel.
func (s *Set) For(requirements []Requirement) []Item { return nil }

// Edits returns the edits that put the files that a node with the requirements
// gets below [OnCard], with their SHA256SUMS. Nothing is read but what Open has.
func (s *Set) Edits(requirements []Requirement) []plan.Edit { return nil }
