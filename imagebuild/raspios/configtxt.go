package raspios

import (
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

// maxConfigLine is how much of a line of config.txt the firmware reads.
const maxConfigLine = 98

// planConfig adds lines to the firmware's configuration, in a block of their own
// that counts for every model.
func (b *builder) planConfig() {
	text := b.read(plan.Boot, "config.txt")
	var block []string
	for _, l := range b.node.Config {
		if strings.ContainsAny(l, "\n\r\x00") {
			b.fail("config: %q holds a line break; give each line by itself", l)
			return
		}
		if len(l) > maxConfigLine {
			b.notice("config.txt: the firmware reads only %d characters of a line, and %q… has %d.", maxConfigLine, l[:20], len(l))
		}
		block = append(block, l)
	}
	if len(block) > 0 {
		block = append([]string{"[all]"}, block...)
	} else if !strings.Contains(text, blockBegin) {
		return
	}
	b.rewrite(plan.Edit{
		Partition: plan.Boot, Path: "config.txt", Content: []byte(withBlock(text, block)), Why: "config.txt",
	})
}
