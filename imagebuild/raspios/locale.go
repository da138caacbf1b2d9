package raspios

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/piimg/piimg/imagebuild/plan"
	"github.com/piimg/piimg/overlays"
)

const whyLocale = "locale"

// planLocale sets the language of the system, the time zone and the keyboard.
func (b *builder) planLocale() {
	b.planTimezone()
	b.planKeymap()
	loc := b.node.Locale
	if loc == "" {
		return
	}
	if !regexp.MustCompile(`^[A-Za-z_]+(\.[A-Za-z0-9-]+)?(@[a-z]+)?$`).MatchString(loc) {
		b.fail("locale: %q is no name of a locale; say for example en_GB.UTF-8", loc)
		return
	}
	if !isBuiltIn(loc) && !slices.Contains(b.facts.Locales, normalLocale(loc)) && !b.generate(loc) {
		return
	}
	var out []string
	set := false
	for _, line := range lines(b.text("etc/default/locale")) {
		switch key, _, _ := strings.Cut(line, "="); strings.TrimSpace(key) {
		case "LANG":
			line, set = "LANG="+loc, true
		case "LANGUAGE", "LC_ALL": // these would win over LANG
			continue
		}
		out = append(out, line)
	}
	if !set {
		out = append(out, "LANG="+loc)
	}
	b.edit("etc/default/locale", strings.Join(out, "\n")+"\n", whyLocale)
}

// generate asks for a locale that the image does not have yet. Compiling it takes
// the image's own programs, so that it happens on the first boot.
func (b *builder) generate(loc string) bool {
	charset := "UTF-8"
	base, at, _ := strings.Cut(loc, "@")
	if name, cs, ok := strings.Cut(base, "."); ok {
		base, charset = name, cs
	}
	if at != "" {
		base += "@" + at
	}
	entry := loc + " " + charset
	gen := lines(b.text("etc/locale.gen"))
	known := slices.Contains(lines(b.text("usr/share/i18n/SUPPORTED")), entry) ||
		slices.ContainsFunc(gen, func(l string) bool { return strings.TrimLeft(l, "# ") == entry }) ||
		!b.exists("usr/share/i18n/SUPPORTED") && b.exists("usr/share/i18n/locales/"+base)
	if !known {
		b.fail("locale: the image knows no locale %q; its names are in /usr/share/i18n/SUPPORTED of the image, for example en_GB.UTF-8", loc)
		return false
	}
	if b.facts.Packages["locales"] == "" && !b.exists("usr/sbin/locale-gen") {
		b.fail("locale: %q is not in the image, and the package locales, which could make it, is not either; say %s, or leave locale out",
			loc, strings.Join(append(slices.Clone(b.facts.Locales), "C.UTF-8"), " or "))
		return false
	}
	set := false
	for i, l := range gen {
		if strings.TrimLeft(l, "# ") == entry && !set {
			gen[i], set = entry, true
		}
	}
	if !set {
		gen = append(gen, entry)
	}
	b.edit("etc/locale.gen", strings.Join(gen, "\n")+"\n", whyLocale)
	b.embedded(overlays.Locale(), whyLocale)
	b.link(unitDir+"/multi-user.target.wants/piimg-locale.service", "/"+unitDir+"/piimg-locale.service", whyLocale)
	b.notice("The locale %s is not in the image; the first boot makes it, which takes some minutes.", loc)
	return true
}

// isBuiltIn reports whether every system has the locale.
func isBuiltIn(loc string) bool {
	n := normalLocale(loc)
	return n == "C" || n == "POSIX" || n == "C.utf8"
}

// normalLocale writes the charset as locale -a does: en_GB.UTF-8 → en_GB.utf8.
func normalLocale(loc string) string {
	name, at, hasAt := strings.Cut(loc, "@")
	name, charset, ok := strings.Cut(name, ".")
	if ok {
		charset = strings.ToLower(strings.ReplaceAll(charset, "-", ""))
		name += "." + charset
	}
	if hasAt {
		name += "@" + at
	}
	return name
}

// locales finds out which locales the image has.
func (r *reader) locales(f *Facts) {
	vars := parseShellVars(r.root("etc/default/locale"))
	f.Locale = vars["LANG"]
	f.Timezone = r.timezone()
	f.Keymap = parseShellVars(r.root("etc/default/keyboard"))["XKBLAYOUT"]

	const dir = "usr/lib/locale"
	for _, n := range r.list(plan.Root, dir) {
		if n == "locale-archive" {
			names, ok, err := r.archive(dir + "/" + n)
			if err != nil {
				r.errs = append(r.errs, err)
			}
			if !ok { // then what was asked for is taken for what was made
				names = wantedLocales(r.root("etc/locale.gen"))
			}
			f.Locales = append(f.Locales, names...)
		} else {
			f.Locales = append(f.Locales, normalLocale(n))
		}
	}
	slices.Sort(f.Locales)
	f.Locales = slices.Compact(f.Locales)
}

// timezone returns the name of the zone that etc/localtime leads to.
func (r *reader) timezone() string {
	if _, e, err := r.d.resolve(plan.Root, "etc/localtime", false); err == nil && e.kind == isLink {
		if _, zone, ok := strings.Cut(path.Clean(e.target), "usr/share/zoneinfo/"); ok {
			return zone
		}
	}
	return strings.TrimSpace(r.root("etc/timezone"))
}

// wantedLocales returns what locale.gen asks for.
func wantedLocales(text string) []string {
	var out []string
	for _, l := range lines(text) {
		if w := strings.Fields(l); len(w) == 2 && !strings.HasPrefix(w[0], "#") {
			out = append(out, normalLocale(w[0]))
		}
	}
	return out
}

// archive reads the names in a locale-archive; ok is false if it has another form.
func (r *reader) archive(name string) (names []string, ok bool, err error) {
	f, err := r.d.open(plan.Root, name)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	names, ok, err = archiveNames(io.LimitReader(f, maxRead))
	if err != nil {
		return nil, false, fmt.Errorf("/%s: %w", name, err)
	}
	return names, ok, nil
}

// The head of a locale-archive (glibc, locale/locarchive.h) is a row of 32-bit
// numbers in the machine's byte order, which is little-endian on every Pi.
const (
	archiveMagic   = 0xde020109
	archiveHead    = 56
	archiveEntry   = 12 // hash, offset of the name, offset of the locale
	maxArchiveHash = 1 << 16
)

// archiveNames returns the names of the locales in a locale-archive; ok is false
// for an archive in another form.
func archiveNames(r io.Reader) (names []string, ok bool, err error) {
	head := make([]byte, archiveHead)
	if _, err := io.ReadFull(r, head); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, false, nil
		}
		return nil, false, err
	}
	word := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(head[4*i:])) }
	table, size := word(2), word(4)
	strs, used := word(5), word(6)
	end := max(table+size*archiveEntry, strs+used)
	if word(0) != archiveMagic || size > maxArchiveHash || table < archiveHead || end > maxRead {
		return nil, false, nil
	}
	data, err := io.ReadAll(io.LimitReader(r, int64(end-archiveHead)))
	if err != nil {
		return nil, false, err
	}
	data = append(head, data...)
	for i := range size {
		off := table + i*archiveEntry
		if off+archiveEntry > uint64(len(data)) {
			break
		}
		name := uint64(binary.LittleEndian.Uint32(data[off+4:]))
		rec := binary.LittleEndian.Uint32(data[off+8:])
		if rec == 0 || name < strs || name >= uint64(len(data)) || name >= strs+used {
			continue
		}
		s, _, ended := strings.Cut(string(data[name:min(uint64(len(data)), name+256)]), "\x00")
		if ended && s != "" {
			names = append(names, s)
		}
	}
	slices.Sort(names)
	return names, true, nil
}
