package raspios

import (
	"path"
	"regexp"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
)

const (
	whySwap     = "swap"
	rpiSwapConf = "etc/rpi/swap.conf.d/90-piimg.conf"
	zramConf    = "etc/systemd/zram-generator.conf"
	dphysUnit   = "dphys-swapfile.service"
)

const noRPISwap = `[Main]
Mechanism=none
`

func hasRPISwap(d *draft, f *Facts) bool {
	return f.Packages["rpi-swap"] != "" || d.exists(plan.Root, "etc/rpi/swap.conf")
}

func hasDphys(d *draft) bool {
	return d.unit(dphysUnit) != "" || d.exists(plan.Root, "etc/init.d/dphys-swapfile") || d.exists(plan.Root, "etc/dphys-swapfile")
}

// dphysLinks returns the links by which SysV init starts dphys-swapfile, from
// which systemd makes a unit where the package has none.
func dphysLinks(d *draft) []string {
	var out []string
	link := regexp.MustCompile(`^[SK]\d\ddphys-swapfile$`)
	for _, level := range []string{"0", "1", "2", "3", "4", "5", "6", "S"} {
		dir := "etc/rc" + level + ".d"
		names, err := d.readDir(plan.Root, dir)
		if err != nil {
			continue
		}
		for _, n := range names {
			if link.MatchString(n) {
				out = append(out, path.Join(dir, n))
			}
		}
	}
	return out
}

// planSwap turns swap off, by masking: a unit that is only disabled comes back
// with the next update or, on Trixie, with the first boot. With swap: true the
// image's own swap stays as it is.
func (b *builder) planSwap() {
	if b.node.Swap {
		b.swapOn()
		return
	}
	if hasDphys(b.d) {
		for _, l := range dphysLinks(b.d) {
			b.remove(l, whySwap)
		}
		b.mask(dphysUnit, whySwap)
	}
	if hasRPISwap(b.d, b.facts) {
		b.write(rpiSwapConf, noRPISwap, 0o644, whySwap)
		b.write(zramConf, "", 0o644, whySwap)
	}
	b.remove("var/swap", whySwap)
	b.fstab()
}

// swapOn takes back what an earlier build of the same image turned off.
func (b *builder) swapOn() {
	if b.facts.Node == nil {
		return
	}
	if b.unmask(dphysUnit, whySwap) {
		if b.d.unit(dphysUnit) != "" {
			b.link(unitDir+"/multi-user.target.wants/"+dphysUnit, b.unitTarget(dphysUnit), whySwap)
		}
		for _, level := range []string{"2", "3", "4", "5"} {
			if b.exists("etc/init.d/dphys-swapfile") {
				b.link("etc/rc"+level+".d/S01dphys-swapfile", "../init.d/dphys-swapfile", whySwap)
			}
		}
	}
	if b.exists(rpiSwapConf) {
		b.remove(rpiSwapConf, whySwap)
		b.remove(zramConf, whySwap)
	}
}

// fstab comments out swap partitions and files of images that have been changed
// by hand. The other lines stay to the byte: the first boot edits them by PARTUUID.
func (b *builder) fstab() {
	text := b.text("etc/fstab")
	var out strings.Builder
	for line := range strings.Lines(text) {
		if w := strings.Fields(line); len(w) >= 3 && w[2] == "swap" && !strings.HasPrefix(w[0], "#") {
			line = "#" + line
		}
		out.WriteString(line)
	}
	if out.String() != text {
		b.edit("etc/fstab", out.String(), whySwap)
	}
}
