package main

import (
	"fmt"
	"io"
	"os"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// The rules of what a terminal shows: one bar, for the step that is under way,
// with bytes, rate and time left; it disappears when its step has ended. Notices
// stand above it. A pipe or a file gets the notices alone.

// progress shows the steps of a command on stderr.
type progress struct {
	out  io.Writer
	live bool // out is a terminal
	bar  *progressbar.ProgressBar
	step string
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, live: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progress) update(step string, done, total int64) {
	if !p.live {
		return
	}
	if p.bar == nil || p.step != step {
		p.end()
		p.step = step
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription(step),
			progressbar.OptionShowBytes(true),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionThrottle(100_000_000), // 0.1 s
			progressbar.OptionClearOnFinish(),
			// A bar without a total would else be drawn again after its end.
			progressbar.OptionSetSpinnerChangeInterval(0),
		)
	}
	// The bar cannot fail but for a terminal that is gone.
	_ = p.bar.Set64(done)
	if total > 0 && done >= total {
		p.end()
	}
}

func (p *progress) notice(text string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	fmt.Fprintf(p.out, "note: %s\n", text)
}

// end removes the bar.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
