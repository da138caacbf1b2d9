package imagebuild

import "errors"

// Kind says whose hands an error is in, so that scripts can tell them apart by
// the exit code. Its values are the exit codes.
type Kind int

// The kinds of errors.
const (
	KindOther  Kind = 1 // none of the following
	KindUsage  Kind = 2 // the command line
	KindConfig Kind = 3 // nodes.yaml, a file or variable it names, or the secrets
	KindImage  Kind = 4 // the base image: missing, damaged, of another system
	KindPlan   Kind = 5 // a plan that cannot be applied: no room in the image, say
	KindOutput Kind = 6 // the output folder: read-only, full, holding other files
	KindDamage Kind = 7 // Check or Verify has found something wrong
)

// Error is an error of a known kind.
type Error struct {
	Kind Kind
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err: that of the first [Error] in its chain, or
// [KindOther].
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindOther
}

// as marks err, if it is one, as being of a kind, unless something in it has one already.
func (k Kind) as(err error) error {
	if err == nil || KindOf(err) != KindOther {
		return err
	}
	return &Error{Kind: k, Err: err}
}
