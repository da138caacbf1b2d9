# shellcheck shell=bash
# What the end-to-end scripts share. Sourced, never run; needs pi-image/lib.sh and
# its caller's variables pi_image, cache and work (folders).
# shellcheck disable=SC2154

# shellcheck disable=SC2034 # the caller's exit status
failed=0
pass() { echo "PASS $*"; }
# shellcheck disable=SC2034
fail() { echo "FAIL $*"; failed=1; }

# check WHAT COMMAND...  one PASS or FAIL line; the command's output only if it failed.
check() {
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then pass "$what"; else
		fail "$what"
		[ -z "$out" ] || printf '%s\n' "$out" | head -n 40 | sed 's/^/     | /'
	fi
}

# base_image ERA  prints the bootable base image of ERA, made on first use.
base_image() {
	local img=$cache/$1-amd64.img
	mkdir -p "$cache"
	(
		flock 9
		[ -e "$img" ] && exit
		log "making $img"
		"$pi_image/make-image.sh" amd64 "$1" "$img.new" >&2
		mv "$img.new" "$img"
	) 9>"${TMPDIR:-/tmp}/piimg-e2e-$1.lock"
	[ -e "$img" ] || die "no base image $img"
	echo "$img"
}

# packed KIND IMG FILE  packs IMG as KIND into FILE; a raw image is a link.
packed() {
	local kind=$1 img=$2 to=$3
	case $kind in
	img) ln -s "$img" "$to" ;;
	img.xz) # the benchmark keeps one, packed as published; else a quick one
		if [ "$img.xz" -nt "$img" ]; then ln -s "$img.xz" "$to"; else
			xz -0 -T0 --block-size=24MiB -c "$img" >"$to"
		fi
		;;
	img.gz) gzip -1 -n -c "$img" >"$to" ;;
	img.zst) zstd -q -1 -T0 -c "$img" >"$to" ;;
	zip) (cd "$(dirname "$img")" && zip -q -1 "$to.zip" "$(basename "$img")") && mv "$to.zip" "$to" ;;
	*) die "no packing $kind" ;;
	esac
}

# root_at IMG  prints the argument by which e2fsprogs open the root partition.
root_at() { echo "$1?offset=$(($(part_field "$1" 2 start) * 512))"; }

# clean_root IMG and clean_boot IMG run the file systems' own checkers.
clean_root() { e2fsck -fn "$(root_at "$1")"; }
clean_boot() {
	local part status=0
	part=$(mktemp -p "$work")
	dd if="$1" of="$part" bs=1M iflag=skip_bytes,count_bytes conv=sparse status=none \
		skip=$(($(part_field "$1" 1 start) * 512)) count=$(($(part_field "$1" 1 size) * 512))
	fsck.fat -n "$part" || status=$?
	rm -f "$part"
	return $status
}

# trees IMG DIR  shows both partitions of IMG below DIR, as boot/ and root/: the
# root by a read-only mount where that is allowed, else copied out by debugfs
# (owners and special files are then left out).
trees() {
	mkdir -p "$2/boot" "$2/root"
	mcopy -s -n -Q -m -i "$(boot_drive "$1")" ::/ "$2/boot" 2>/dev/null || true
	if [ "$(id -u)" = 0 ] && mount -o "ro,noload,loop,offset=$(($(part_field "$1" 2 start) * 512))" "$1" "$2/root" 2>/dev/null; then
		mounts+=("$2/root")
	else
		debugfs -R "rdump / $2/root" "$(root_at "$1")" >/dev/null 2>&1
	fi
}
mounts=()
unmount_trees() {
	local m
	for m in "${mounts[@]}"; do umount "$m" || umount -l "$m" || true; done
	mounts=()
}
