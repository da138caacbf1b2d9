#!/bin/bash
# edit.sh BASE OUT NODE...   the loop-mount way: what bench/run.sh compares piimg with
#
# Makes OUT/NODE.img for each NODE by copying BASE (.img, or .img.xz: unpacked
# once) and editing the copy through a loop mount, as a careful script would: the
# same edits as piimg's plans, taken from $EDITS, a folder with NODE/boot, NODE/root
# (trees to lay over), NODE/remove (paths) and NODE/owners. Each result is fsynced
# and its sha256 taken, as piimg does. Needs root.
#
# PACK=1 packs each with xz -T0 -6, as NODE.img.xz, and keeps only that.
#
# The FAT is edited with mtools: not every kernel can mount it, and it is as quick.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: edit.sh BASE OUT NODE..." >&2; exit 2; }
base=$1 out=$2
shift 2
: "${EDITS:?the folder of edits}"
mnt=$(mktemp -d)
loop=''
finish() {
	mountpoint -q "$mnt" && umount "$mnt"
	[ -z "$loop" ] || losetup -d "$loop"
	rmdir "$mnt"
}
trap finish EXIT
mkdir -p "$out"
raw=$base
if [[ $base == *.xz ]]; then
	raw=$out/.base.img
	xz -dc -T0 "$base" | dd of="$raw" bs=1M conv=sparse status=none iflag=fullblock
fi
u32() { od -An -tu4 -j "$2" -N 4 "$1" | tr -d ' '; }
for node in "$@"; do
	img=$out/$node.img edits=$EDITS/$node
	cp --sparse=always "$raw" "$img.tmp"
	fat=$img.tmp@@$(($(u32 "$img.tmp" 454) * 512))
	export MTOOLS_SKIP_CHECK=1
	(cd "$edits/boot" && find . -type f -printf '%P\n' | while read -r f; do
		case $f in */*) mmd -D s -i "$fat" "::/${f%/*}" 2>/dev/null || true ;; esac
		mcopy -o -i "$fat" "$f" "::/$f"
	done)
	loop=$(losetup -f --show -o $(($(u32 "$img.tmp" 470) * 512)) --sizelimit $(($(u32 "$img.tmp" 474) * 512)) "$img.tmp")
	mount "$loop" "$mnt"
	while read -r path; do rm -rf "${mnt:?}/$path"; done <"$edits/remove"
	cp -a --remove-destination --no-preserve=timestamps "$edits/root/." "$mnt/"
	while read -r owner mode path; do
		chown -h "$owner" "$mnt/$path"
		[ "$mode" = - ] || chmod "$mode" "$mnt/$path"
	done <"$edits/owners"
	umount "$mnt"
	losetup -d "$loop"
	loop=''
	if [ "${PACK:-}" = 1 ]; then
		xz -T0 -6 -c "$img.tmp" >"$img.xz"
		rm -f "$img.tmp"
		sync "$img.xz"
		continue
	fi
	sync "$img.tmp"
	mv "$img.tmp" "$img"
done
[ "$raw" = "$base" ] || rm -f "$raw"
suffix=.img
[ "${PACK:-}" != 1 ] || suffix=.img.xz
(cd "$out" && sha256sum -- "${@/%/$suffix}" >SHA256SUMS && sync SHA256SUMS .)
