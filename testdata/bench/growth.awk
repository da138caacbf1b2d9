# growth.awk growth.tsv   the tables of the README's "How it grows", in Markdown
#
# The last columns are slopes of the least-squares lines.
BEGIN { FS = "\t" }
NR == 1 { machine = substr($1, 3) }
/^#/ || !NF { next }
$1 == "nodes" {
	node[++nodes] = $4
	small = $2; smallPacked = $5
	for (i = 6; i <= 9; i++) value["nodes", nodes, i] = $i
}
$1 == "images" {
	if (!($2 in packed)) size[++sizes] = $2
	packed[$2] = $5
	kind = $3 FS $4
	if (!(kind in known)) { known[kind] = 1; kinds[++nkinds] = kind }
	for (i = 6; i <= 9; i++) value[kind, sizes, i] = $i
}
# thousands N  with a comma where it is large.
function thousands(n) { return n < 1000 ? n "" : thousands(int(n / 1000)) sprintf(",%03d", n % 1000) }
# number X  with as many digits as mean something.
function number(x,   a) {
	a = x < 0 ? -x : x
	if (a >= 99.5) return (x < 0 ? "−" : "") thousands(int(a + 0.5))
	return (x < 0 ? "−" : "") sprintf(a >= 9.95 ? "%.0f" : a >= 0.995 ? "%.1f" : a >= 0.0005 ? "%.2g" : "%.0f", a)
}
# slope KEY FIELD N  as a number, of the least-squares line through N points (x[1], …).
function slope(key, field, n,   i, sx, sy, sxx, sxy, y) {
	for (i = 1; i <= n; i++) { y = value[key, i, field]; sx += x[i]; sy += y; sxx += x[i] * x[i]; sxy += x[i] * y }
	return n > 1 ? number((n * sxy - sx * sy) / (n * sxx - sx * sx)) : ""
}
function row(name, key, field, n,   i, line) {
	for (i = 1; i <= n; i++) line = line " " number(value[key, i, field]) " |"
	print "| " name " |" line " " slope(key, field, n) " |"
}
function rule(n,   i, line) {
	for (i = 0; i <= n; i++) line = line " --: |"
	print "| --- |" line
}
function count(n) { return n == 1 ? "1 node" : n " nodes" }
END {
	split("seconds;CPU seconds;peak memory, MiB;written, MiB", name, ";")
	printf "On %s, medians of up to three runs. Nodes as `.img.xz`, from an image of %d MiB that is\n", machine, small
	printf "small when it is packed (%d MiB), so that a thousand fit on a disk:\n\n", smallPacked
	line = "| nodes |"
	for (i = 1; i <= nodes; i++) { x[i] = node[i]; line = line " " thousands(node[i]) " |" }
	print line " by a further node |"
	rule(nodes)
	for (f = 6; f <= 9; f++) row(name[f - 5], "nodes", f, nodes)

	print "\nLarger images, as full as Raspberry Pi OS leaves them, packed by `xz -0` in blocks of 24 MiB:\n"
	line = "| image (packed) |"
	for (i = 1; i <= sizes; i++) { x[i] = size[i] / 1024; line = line " " x[i] " GiB (" thousands(packed[size[i]]) " MiB) |" }
	print line " by a further GiB |"
	rule(sizes)
	for (f = 6; f <= 8; f += 2)
		for (k = 1; k <= nkinds; k++) {
			split(kinds[k], part, FS)
			row(count(part[2]) ", `." part[1] "`: " name[f - 5], kinds[k], f, sizes)
		}
	print "\n![Growth: time and peak memory, by nodes and by the size of the image](.github/pictures/growth.png)"
}
