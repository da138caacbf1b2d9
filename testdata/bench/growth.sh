#!/bin/bash
# growth.sh              what builds grow by: with the nodes, and with the image
# growth.sh --prepare    only make the base images
# growth.sh --show       the table and the picture of the last run, again
# growth.sh --readme     as --show, and the table goes into the README
#
# Nodes: 1 to 1,000, as .img.xz, from an image of 816 MiB that is small when it is packed,
# so that a thousand fit on a disk: the Bookworm one of ../images with 32 MiB of files.
# Images: of 1, 2 and 8 GiB, as full as Raspberry Pi OS leaves them (content × 1.2 +
# 200 MiB); one node and several, as .img.xz and as .img. All are made once, from the
# files of this machine's /usr, over and over if they must be; and packed in blocks of
# 24 MiB, as published ones are, but by xz -0, which takes minutes where -6 takes half an
# hour. Bases are in the page cache, and images are synced to the disk, as piimg does.
#
#   GROWTH_NODES      how many nodes, in turn        (default "1 10 100 1000")
#   GROWTH_SIZES      of images, in MiB              (default "1024 2048 8192")
#   GROWTH_MANY       nodes beside one, of .img.xz and of .img, which take the whole
#                     size on the disk               (default "7 2")
#   GROWTH_RUNS       runs of which the medians are, as long as those before have not
#                     taken 30 s                     (default 3)
#   GROWTH_OUT        where growth.tsv and growth.png go (default: where the README has them)
#   PIIMG             the program                    (default bin/piimg)
#   PIIMG_E2E_CACHE   where base images are kept, as for ../e2e/run.sh; 3 GB
#   BENCH_WORK        scratch folder, 17 GB free     (default: a temporary one)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../pi-image/lib.sh
. "$here/../pi-image/lib.sh"
# shellcheck source=../e2e/lib.sh
. "$here/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$here/lib.sh"
PATH=$PATH:/usr/sbin:/sbin
readme=$here/../../README.md
out=${GROWTH_OUT:-$here/../../.github/pictures}
cache=${PIIMG_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piimg-e2e}
work=$(mktemp -d "${BENCH_WORK:-${TMPDIR:-/tmp}}/piimg-growth.XXXXXX")
trap 'rm -rf "$work"' EXIT

show() {
	need gnuplot=gnuplot-nox pngquant=pngquant
	awk -f "$here/growth.awk" "$out/growth.tsv" >"$work/table.md"
	cat "$work/table.md"
	gnuplot -e "tsv='$out/growth.tsv'; png='$work/growth.png'" "$here/growth.gp"
	pngquant --strip --speed 1 --force --output "$out/growth.png" 64 "$work/growth.png"
}
case ${1:-} in
'' | --prepare) ;;
--show | --readme)
	show
	[ "$1" = --show ] || sed -i -e '/^<!-- growth/,/^<!-- \/growth/{/^<!--/!d}' -e "/^<!-- growth/r $work/table.md" "$readme"
	exit
	;;
*) die "usage: growth.sh [--prepare | --show | --readme]" ;;
esac

# filling MIB  prints lines for debugfs that write so much of /usr below /fill: every
# nth file, so that all sizes have the same kinds of files, and all of them again.
filling() {
	find /usr -xdev -type f -readable -size +0 -size -33M -printf '%s %p\n' | grep -v '"' | LC_ALL=C sort -k 2 | awk -v want=$(($1 << 20)) '
		{ size[NR] = $1; all += $1; sub(/^[0-9]+ /, ""); path[NR] = $0 }
		END {
			step = int(all / want)
			if (step < 1) step = 1
			print "mkdir /fill"
			for (n = 0; want > 0; n++) {
				i = n * step % NR + 1
				if (n % 1000 == 0) printf "mkdir /fill/%d\ncd /fill/%d\n", n / 1000, n / 1000
				printf "write \"%s\" %d\n", path[i], n
				want -= size[i]
			}
		}'
}

# base MIB [FILL]  prints the packed base image of that size, made on first use; with FILL
# MiB of files, or as many as Raspberry Pi OS has.
base() {
	local small=$here/../images/bookworm.img.xz img=$work/base.img start root fill
	local packed=$cache/growth-$1${2:+-$2}.img.xz
	if [ ! -e "$packed" ]; then
		need mkfs.ext4=e2fsprogs sfdisk=fdisk xz=xz-utils
		mkdir -p "$cache"
		log "making $packed"
		xz -dc "$small" >"$img"
		start=$(part_field "$img" 2 start)
		root=$(($1 - start / 2048)) # MiB
		fill=${2:-$(((root - 200) * 5 / 6))}
		# resize2fs knows of no offset.
		dd if="$img" of="$work/root" bs=1M iflag=skip_bytes skip=$((start * 512)) conv=sparse status=none
		truncate -s "${root}M" "$work/root"
		resize2fs "$work/root" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "resize2fs failed"; }
		truncate -s "${1}M" "$img"
		echo ", $((root * 2048))" | sfdisk -q --no-reread -N 2 "$img"
		dd if="$work/root" of="$img" bs=1M oflag=seek_bytes seek=$((start * 512)) conv=notrunc,sparse status=none
		rm "$work/root"
		filling "$fill" >"$work/fill"
		debugfs -w -f "$work/fill" "$(root_at "$img")" 2>&1 >/dev/null | grep -v '^debugfs [0-9]' >&2 && die "debugfs failed"
		clean_root "$img" >"$work/log" 2>&1 || { cat "$work/log" >&2; die "the root is not clean"; }
		xz -0 --block-size=24MiB -T0 -c "$img" >"$packed.new"
		mv "$packed.new" "$packed"
		rm "$img"
	fi
	echo "$packed"
}
read -ra sizes <<<"${GROWTH_SIZES:-1024 2048 8192}"
read -r many_xz many_img <<<"${GROWTH_MANY:-7 2}"
few=$(base 816 32)
for mib in "${sizes[@]}"; do base "$mib" >/dev/null; done
[ "${1:-}" != --prepare ] || exit 0

need time=time
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
export XDG_CACHE_HOME=$work/cache

# measure AXIS MIB FORMAT NODES BASE  appends a line to the results.
measure() {
	local spent=0 what written
	fleet "$4" "$5" >"$work/nodes.yaml"
	rm -f "$work"/{wall,cpu,peak}
	cat "$5" >/dev/null
	for _ in $(seq "${GROWTH_RUNS:-3}"); do
		rm -rf "$work/out"
		sync
		timed "$piimg" build --quiet --nodes "$work/nodes.yaml" --secrets "$work/secrets.yaml" --out "$work/out" --format "$3" ||
			die "building failed"
		for what in wall cpu peak; do echo "${!what}" >>"$work/$what"; done
		log "$1: $2 MiB, $4 × .$3: $wall s, $cpu s of CPU, $((peak / 1024)) MiB"
		spent=$((spent + ${wall%.*}))
		[ "$spent" -lt 30 ] || break
	done
	(cd "$work/out" && sha256sum --quiet -c SHA256SUMS) || die "the images are not what they should be"
	written=$(du -sm "$work/out" | cut -f 1)
	rm -rf "$work/out"
	printf '%s\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$(($(stat -c %s "$5") >> 20))" \
		"$(median <"$work/wall")" "$(median <"$work/cpu")" \
		"$(median <"$work/peak" | awk '{ printf "%.1f", $1 / 1024 }')" "$written" >>"$work/growth.tsv"
}
printf '# %s\n#axis\tMiB\tformat\tnodes\tpacked MiB\tseconds\tCPU seconds\tpeak MiB\twritten MiB\n' "$(processors)" >"$work/growth.tsv"
for n in ${GROWTH_NODES:-1 10 100 1000}; do measure nodes 816 img.xz "$n" "$few"; done
for mib in "${sizes[@]}"; do
	big=$(base "$mib")
	for n in 1 "$many_xz"; do measure images "$mib" img.xz "$n" "$big"; done
	for n in 1 "$many_img"; do measure images "$mib" img "$n" "$big"; done
done
mkdir -p "$out"
mv "$work/growth.tsv" "$out/growth.tsv"
show
