#!/bin/bash
# make.sh [RELEASE...]     make the small images (all of them without arguments)
# make.sh --check          make them all again elsewhere and compare
#
# Makes RELEASE.img.xz beside this script from the trees in src/, without root:
# the ext4 root by mkfs.ext4, debugfs and e2fsck, the FAT by mkfs.fat and mtools.
# Nothing in an image comes from the clock, the user or the order of a host's
# directories, so the same tools make the same bytes; README.md names the
# versions that SHA256SUMS came from.
#
#   OUT    where the images go (default: beside this script)
#   KEEP=1 keeps the raw RELEASE.img beside the packed one
#
# A release is a list of layers (src/LAYER), later ones over earlier ones. Each
# has root/ and boot/ trees and a file `meta`, whose lines are
#   mode PATH MODE UID GID    owner and mode of something in the trees (0644 and
#                             0755, root, unless said otherwise)
#   dir PATH MODE UID GID     a directory          gone PATH   not in this release
#   link PATH TARGET          a symbolic link      hard PATH OLD  a hard link
#   text PATH WORDS           a file of one line   filler PATH SIZE  of any text
#   sparse PATH SIZE          a file with holes    clock PATH  an empty file
#   fakehwclock PATH          the release's date   xattr PATH NAME HEX
#   zone PATH ABBR SECONDS TZ a time zone file     boot PATH SIZE  a filler on FAT
#   boots FORMAT FROM TO SIZE many of them         index PATH N  N names that are
#                             removed again: the directory keeps its hash index
# Paths may have spaces except in the two-path lines. @DISKID@ in fstab and
# cmdline.txt becomes the MBR's id.
set -euo pipefail
export LC_ALL=C TZ=UTC
here=$(cd "$(dirname "$0")" && pwd)
src=$here/src out=${OUT:-$here}
umask 022

die() { echo "make.sh: $*" >&2; exit 1; }
for tool in mkfs.ext4 debugfs e2fsck mkfs.fat fsck.fat mcopy mmd sfdisk xz; do
	PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || die "$tool is missing: run testdata/tools.sh"
done
PATH=$PATH:/usr/sbin:/sbin

if [ "${1:-}" = --check ]; then
	again=$(mktemp -d)
	trap 'rm -rf "$again"' EXIT
	OUT=$again "$0"
	(cd "$again" && sha256sum -c "$here/SHA256SUMS")
	exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# repeat TEXT SIZE  prints SIZE bytes of lines that name what they fill.
repeat() { yes "filler: $1" | head -c "$2" || true; }

# bytes HEX  prints them.
bytes() {
	local i
	for ((i = 0; i < ${#1}; i += 2)); do
		# shellcheck disable=SC2059
		printf "\\x${1:i:2}"
	done
}

# zone_file ABBR SECONDS TZ  a TZif version 2 file of one type and a POSIX rule.
zone_file() {
	# Version 1's block and version 2's are the same here: one type, no transitions.
	# Each header: no indicators, no leap seconds, no transitions, one type.
	local i zeros=00000000
	for i in 1 2; do
		bytes "545a696632$(printf '%030d' 0)$zeros$zeros$zeros${zeros}00000001$(printf '%08x' $((${#1} + 1)))"
		bytes "$(printf '%08x' $(($2 & 0xffffffff)))0000"
		printf '%s\0' "$1"
	done
	printf '\n%s\n' "$3"
}

# status_file PACKAGES ARCH  prints a dpkg status file.
status_file() {
	local name version section arch
	while read -r name version section arch; do
		[ "$arch" = all ] || arch=$2
		printf '%s\n' "Package: $name" 'Status: install ok installed' 'Priority: optional' \
			"Section: $section" 'Installed-Size: 1024' \
			'Maintainer: Test Images <images@example.org>' "Architecture: $arch" \
			"Version: $version" 'Depends: libc6 (>= 2.4)'
		if [ "$name" = openssh-server ]; then
			printf '%s\n' Conffiles: ' /etc/init.d/ssh 3649a6fe8c18ad1d5245fd91737de507' \
				' /etc/pam.d/sshd 8b4c7a12b031424b2a9946881da59812'
		fi
		printf '%s\n' "Description: stand-in entry for $name" \
			' Only what a reader of this file looks at is real.' ' .' \
			' The rest has the form of the real file.' ''
	done < <(sort "$1")
}

make_release() {
	local release=$1 date arch merged disk_id vol_id fs_uuid hash_seed boot_label fat_opts
	local p1 p1_sectors p2 root_mib ext4_opts layers layer
	# shellcheck source=/dev/null
	. "$src/$release/release.conf"
	local dir=$work/$release root=$work/$release/root boot=$work/$release/boot
	local epoch
	epoch=$(date -u -d "$date 14:00:00" +%s)
	export SOURCE_DATE_EPOCH=$epoch E2FSPROGS_FAKE_TIME=$epoch E2FSCK_TIME=$epoch
	rm -rf "$dir"
	mkdir -p "$root" "$boot" "$dir/xattr"

	# --- the trees ---------------------------------------------------------
	local -A mode=() symlink=() hardlink=()
	local -a indexed=() xattrs=()
	# usr_path PATH  where PATH is when /bin, /sbin and /lib are links into /usr.
	usr_path() {
		case $merged/$1 in
		1/bin/* | 1/sbin/* | 1/lib/* | 1/lib) echo "usr/$1" ;;
		*) echo "$1" ;;
		esac
	}
	for layer in $layers; do
		if [ -d "$src/$layer/root" ]; then cp -R "$src/$layer/root/." "$root/"; fi
		if [ -d "$src/$layer/boot" ]; then cp -R "$src/$layer/boot/." "$boot/"; fi
		if [ "$merged" = 1 ] && [ -d "$root/lib" ]; then
			mkdir -p "$root/usr/lib"
			cp -R "$root/lib/." "$root/usr/lib/"
			rm -rf "${root:?}/lib"
		fi
	done
	if [ "$merged" = 1 ]; then
		symlink[bin]=usr/bin symlink[sbin]=usr/sbin symlink[lib]=usr/lib
	fi
	local op rest path a b c i
	while read -r op rest; do
		case $op in '' | '#'*) continue ;; esac
		case $op in # the words after the path, from the right
		mode | dir)
			c=${rest##* } rest=${rest% *} b=${rest##* } rest=${rest% *} a=${rest##* } path=${rest% *} ;;
		zone | xattr) read -r path a b c <<<"$rest" ;;
		boots) read -r path a b c <<<"$rest" ;;
		gone | clock | fakehwclock) path=$rest ;;
		*) a=${rest##* } path=${rest% *} ;;
		esac
		[[ $op == boot* ]] || path=$(usr_path "$path")
		case $op in
		dir | index | boots) ;;
		boot) mkdir -p "$(dirname "$boot/$path")" ;;
		*) mkdir -p "$(dirname "$root/$path")" ;;
		esac
		case $op in
		mode) mode[$path]="$a $b $c" ;;
		dir) mkdir -p "$root/$path"; mode[$path]="$a $b $c" ;;
		gone) rm -rf "${root:?}/$path"; unset "mode[$path]" "symlink[$path]" ;;
		link) rm -f "$root/$path"; symlink[$path]=$a ;;
		hard) hardlink[$path]=$(usr_path "$a") ;;
		text) echo "$a" >"$root/$path" ;;
		filler) repeat "$path" "$a" >"$root/$path" ;;
		sparse)
			truncate -s "$a" "$root/$path"
			printf 'data between holes\n' | dd of="$root/$path" bs=1 seek=$(((a / 2) & ~4095)) conv=notrunc status=none
			;;
		clock) : >"$root/$path" ;;
		fakehwclock) date -u -d "@$epoch" '+%Y-%m-%d %H:%M:%S' >"$root/$path" ;;
		zone) zone_file "$a" "$b" "$c" >"$root/$path" ;;
		xattr)
			bytes "$b" >"$dir/xattr/${#xattrs[@]}"
			xattrs+=("$path|$a")
			;;
		index)
			indexed+=("$path")
			mkdir -p "$root/$path"
			for i in $(seq -f %03.0f "$a"); do : >"$root/$path/unpacked-file-$i.dpkg-new"; done
			;;
		boot) repeat "$path" "$a" >"$boot/$path" ;;
		boots)
			for i in $(seq "$a" "$b"); do
				# shellcheck disable=SC2059
				repeat "$path" $((c + i * 7)) >"$boot/$(printf "$path" "$i")"
			done
			;;
		*) die "$release: unknown line in a meta file: $op $rest" ;;
		esac
	done < <(for layer in $layers; do [ ! -e "$src/$layer/meta" ] || cat "$src/$layer/meta"; done)
	mkdir -p "$root/var/lib/dpkg"
	status_file "$src/$release/packages" "$arch" >"$root/var/lib/dpkg/status"
	cp "$root/etc/rpi-issue" "$boot/issue.txt"
	sed -i "s/@DISKID@/$disk_id/" "$root/etc/fstab" "$boot/cmdline.txt"

	# --- the root file system ------------------------------------------------
	# debugfs puts everything in, in the order of the names: mkfs.ext4 -d takes
	# the order, the owners and the change times of the host's directories.
	local fs=$dir/root.ext4
	truncate -s "${root_mib}M" "$fs"
	mkfs.ext4 -q -F -L rootfs -b 4096 -I 256 -i 16384 -m 5 -J size=16 -U "$fs_uuid" \
		-O "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,sparse_super,large_file,dir_nlink,extra_isize,$ext4_opts" \
		-E "hash_seed=$hash_seed,root_owner=0:0,lazy_itable_init=1,lazy_journal_init=1" "$fs"
	# owned PATH BITS UID GID  with the file type in octal before the mode's BITS.
	owned() {
		local type=0100000
		[ ! -d "$root/$1" ] || type=0040000
		printf 'sif "/%s" mode 0%o\nsif "/%s" uid %s\nsif "/%s" gid %s\n' "$1" $((type | 8#$2)) "$1" "$3" "$1" "$4"
	}
	{
		echo 'ssv flags 1' # signed directory hashes, whatever machine this is
		while read -r path; do
			printf 'mkdir "/%s"\n' "$path"
			owned "$path" 755 0 0
		done < <(find "$root" -mindepth 1 -type d -printf '%P\n' | sort)
		while read -r path; do
			printf 'write "%s" "/%s"\n' "$root/$path" "$path"
			owned "$path" 644 0 0
		done < <(find "$root" -type f -printf '%P\n' | sort)
		while read -r path; do
			printf 'symlink "/%s" "%s"\n' "$path" "${symlink[$path]}"
		done < <(printf '%s\n' "${!symlink[@]}" | sort)
		while read -r path; do
			read -r a b c <<<"${mode[$path]}"
			[ -e "$root/$path" ] || die "$release: mode of what is not there: $path"
			owned "$path" "$a" "$b" "$c"
		done < <(printf '%s\n' "${!mode[@]}" | sort)
		while read -r path; do
			printf 'ln "/%s" "/%s"\n' "${hardlink[$path]}" "$path"
		done < <(printf '%s\n' "${!hardlink[@]}" | sort)
		while read -r b a; do # debugfs's ln leaves the count alone
			printf 'sif "/%s" links_count %d\n' "$a" $((b + 1))
		done < <(printf '%s\n' "${hardlink[@]}" | sort | uniq -c)
		for i in "${!xattrs[@]}"; do
			printf 'ea_set -f "%s" "/%s" %s\n' "$dir/xattr/$i" "${xattrs[$i]%%|*}" "${xattrs[$i]#*|}"
		done
	} >"$dir/fill"
	change() { # change SCRIPT  debugfs tells of errors on stderr only
		debugfs -w -f "$1" "$fs" >/dev/null 2>"$dir/err"
		! grep -v '^debugfs [0-9]' "$dir/err" || die "$release: debugfs failed"
	}
	fsck() { # fsck FLAGS...  0 is clean, 1 is changed
		e2fsck "$@" "$fs" >"$dir/fsck" 2>&1 || [ $? = 1 ] || { cat "$dir/fsck" >&2; die "$release: e2fsck $*"; }
	}
	change "$dir/fill"
	fsck -fyD # makes the indexes
	for path in "${indexed[@]}"; do
		find "$root/$path" -name 'unpacked-file-*' -printf 'rm "/'"$path"'/%f"\n'
	done | sort >"$dir/thin"
	change "$dir/thin"
	fsck -fy -E discard # zeros where nothing is
	e2fsck -fn "$fs" >"$dir/fsck" 2>&1 || { cat "$dir/fsck" >&2; die "$release: the root is not clean"; }

	# --- the boot file system --------------------------------------------------
	local fat=$dir/boot.fat
	truncate -s $((p1_sectors * 512)) "$fat"
	find "$dir/boot" -exec touch -d "@$epoch" {} +
	# shellcheck disable=SC2086
	mkfs.fat --invariant -n "$boot_label" $fat_opts -h "$p1" -i "$vol_id" "$fat" >/dev/null 2>&1
	mmd -i "$fat" ::/overlays
	local -a files
	mapfile -d '' files < <(find "$boot" -maxdepth 1 -type f -print0 | sort -z)
	mcopy -m -i "$fat" "${files[@]}" ::/
	mapfile -d '' files < <(find "$boot/overlays" -type f -print0 | sort -z)
	mcopy -m -i "$fat" "${files[@]}" ::/overlays/
	fsck.fat -n "$fat" >"$dir/fsck" 2>&1 || { cat "$dir/fsck" >&2; die "$release: the FAT is not clean"; }

	# --- the image ---------------------------------------------------------------
	local img=$dir/$release.img
	truncate -s $((p2 * 512 + root_mib * 1048576)) "$img"
	sfdisk -q "$img" <<-PARTS
		label: dos
		label-id: 0x$disk_id
		unit: sectors
		start=$p1, size=$p1_sectors, type=c
		start=$p2, size=$((root_mib * 2048)), type=83
	PARTS
	dd if="$fat" of="$img" bs=1M oflag=seek_bytes seek=$((p1 * 512)) conv=notrunc,sparse status=none
	dd if="$fs" of="$img" bs=1M oflag=seek_bytes seek=$((p2 * 512)) conv=notrunc,sparse status=none
	# More than one thread: blocks of 24 MiB with their sizes, as published.
	xz -6 -T2 -c "$img" >"$dir/$release.img.xz"
	[ -z "${KEEP:-}" ] || cp --sparse=always "$img" "$out/"
	mv "$dir/$release.img.xz" "$out/"
	rm -rf "$dir"
	echo "$release.img.xz: $(stat -c %s "$out/$release.img.xz") bytes"
}

mkdir -p "$out"
releases=("$@")
if [ ${#releases[@]} = 0 ]; then
	for conf in "$src"/*/release.conf; do releases+=("$(basename "$(dirname "$conf")")"); done
fi
for release in "${releases[@]}"; do
	[ -e "$src/$release/release.conf" ] || die "no such release: $release"
	make_release "$release"
done
if [ $# = 0 ]; then (cd "$out" && sha256sum -- *.img.xz >SHA256SUMS); fi
