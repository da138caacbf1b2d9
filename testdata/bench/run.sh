#!/bin/bash
# run.sh     how long seven nodes take, beside a loop-mount script (root)
#
# Base image: the bootable Bookworm one (about 2 GB) of ../pi-image, as .img and as
# .img.xz (xz -6, blocks of 24 MiB, as published). The work: seven raw images with
# the same edits, synced to disk, and the SHA-256 of each. Runs take turns (piimg,
# script, piimg, ...), each after the caches' dirty pages have been written; the
# table has the medians, their ratio, and the peak memory of the largest process.
#
# Then packed images, from the .img.xz base: seven .img.xz beside the same script with
# `xz -T0 -6`, and beside what no tool can be quicker than, `cp` and `sha256sum` of the
# seven files; what one more node costs, beside cp and sha256sum of one file; seven .img
# beside `xz -dc -T0` once and seven times cp; decoding alone beside `xz -dc -T2`; and
# the memory that blocks of 192 MiB take.
#
#   PACKED_RUNS      pairs with packed images          (default 3)
#   PACKED_SCRIPT    how often the script packs, which takes minutes (default 1;
#                    0: leave it out)
#   RUNS             pairs for each packing            (default 5)
#   PIIMG            the program                       (default bin/piimg)
#   PIIMG_E2E_CACHE  where base images are kept, as for ../e2e/run.sh
#   BENCH_WORK       scratch folder, 16 GB free        (default: a temporary one)
#
# Only the script needs root; piimg does what it does as any user.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pi_image=$here/../pi-image
# shellcheck source=../pi-image/lib.sh
. "$pi_image/lib.sh"
# shellcheck source=../e2e/lib.sh
. "$here/../e2e/lib.sh"
# shellcheck source=lib.sh
. "$here/lib.sh"
[ "$(id -u)" = 0 ] || die "the loop-mount script needs root"
need time=time xz=xz-utils mcopy=mtools python3=python3-minimal losetup=util-linux
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
cache=${PIIMG_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piimg-e2e}
runs=${RUNS:-5}
work=$(mktemp -d "${BENCH_WORK:-${TMPDIR:-/tmp}}/piimg-bench.XXXXXX")
trap 'unmount_trees; rm -rf "$work"' EXIT
base=$(base_image bookworm)
xz_base=$cache/bookworm-amd64.img.xz
[ -w "$cache" ] || xz_base=$work/bookworm-amd64.img.xz
if [ ! -e "$xz_base" ] || [ "$base" -nt "$xz_base" ]; then
	log "packing the base (once)"
	xz -6 -T0 -c "$base" >"$xz_base.new"
	mv "$xz_base.new" "$xz_base"
fi

hash=$(sed -n 's/.*{hash: "\(.*\)"}.*/\1/p' "$here/../demo/nodes.yaml")
names=(tom-nook isabelle blathers celeste kapp-n leif redd)
nodes_file() { # nodes_file BASE
	cat <<-YAML
		image: {path: $1}
		cluster: {name: bench, network: 10.0.0.0/24, gateway: 10.0.0.1, dns: [1.1.1.1, 9.9.9.9]}
		defaults:
		  user:
		    name: pi
		    password: {hash: "$hash"}
		    authorizedKeys: [$here/../demo/demo.pub]
		  timezone: Europe/Berlin
		  locale: en_GB.UTF-8
		  keymap: gb
		  cmdline: [cgroup_enable=memory]
		  files:
		    - {path: /etc/motd, content: "hello\\n", mode: "0644", owner: root:root}
		nodes:
	YAML
	local i
	for i in "${!names[@]}"; do echo "  - {hostname: ${names[i]}, ip: 10.0.0.$((50 + i))}"; done
}
nodes_file "$base" >"$work/img.yaml"
nodes_file "$xz_base" >"$work/img.xz.yaml"
cp "$here/edit.sh" "$work/"

log "making the script's edits from piimg's plans"
"$piimg" build --quiet --nodes "$work/img.yaml" --secrets "$work/secrets.yaml" --out "$work/warm" --only "${names[0]}" >/dev/null
"$piimg" plan --json --nodes "$work/img.yaml" --secrets "$work/secrets.yaml" >"$work/plan.json"
rm -rf "$work/warm"
trees "$base" "$work/tree"
python3 "$here/edits.py" "$work/plan.json" "$work/edits" "$work/tree/root"
unmount_trees
log "$(jq -r '(.plans? // .)[0].edits | length' "$work/plan.json") edits a node"

# once NAME WHAT COMMAND...  runs it; appends seconds and the peak of KiB to NAME.WHAT.
once() {
	local name=$1 what=$2
	shift 2
	rm -rf "$work/out"
	sync
	timed "$@" || die "$what failed"
	echo "$wall $peak" >>"$work/$name.$what"
	log "$name $what: $wall $peak"
}
for packing in img img.xz; do
	from=$base
	[ "$packing" = img ] || from=$xz_base
	cat "$from" >/dev/null # both sides read it from the page cache
	for _ in $(seq "$runs"); do
		once "$packing" piimg "$piimg" build --quiet --nodes "$work/$packing.yaml" --secrets "$work/secrets.yaml" --out "$work/out"
		once "$packing" script env EDITS="$work/edits" "$work/edit.sh" "$from" "$work/out" "${names[@]}"
	done
done
rm -rf "$work/out"

printf '\n%s, %d runs each; base image %d MiB, %s MiB as .img.xz; %d nodes\n\n' \
	"$(processors)" "$runs" \
	$(($(stat -c %s "$base") >> 20)) $(($(stat -c %s "$xz_base") >> 20)) ${#names[@]}
printf '| from | piimg, s (min–max) | script, s (min–max) | piimg ÷ script | piimg peak, MiB | script peak, MiB |\n'
printf '| --- | --- | --- | --- | --- | --- |\n'
range() { awk '{ print $1 }' "$1" | sort -n | awk 'NR == 1 { a = $1 } { b = $1 } END { printf "%.1f–%.1f", a, b }'; }
peak() { awk '$2 > m { m = $2 } END { printf "%.0f", m / 1024 }' "$1"; }
for packing in img img.xz; do
	p=$(awk '{ print $1 }' "$work/$packing.piimg" | median) s=$(awk '{ print $1 }' "$work/$packing.script" | median)
	printf '| .%s | %.1f (%s) | %.1f (%s) | %.2f | %s | %s |\n' "$packing" \
		"$p" "$(range "$work/$packing.piimg")" "$s" "$(range "$work/$packing.script")" \
		"$(awk -v p="$p" -v s="$s" 'BEGIN { print p / s }')" "$(peak "$work/$packing.piimg")" "$(peak "$work/$packing.script")"
done

# --- packed images ----------------------------------------------------------------------
build() { # build OUT ARGS...
	local out=$1
	shift
	"$piimg" build --quiet --nodes "$work/img.xz.yaml" --secrets "$work/secrets.yaml" --out "$out" "$@"
}
floor() { # floor FILE...  cp, sync and sha256sum, into $work/out
	mkdir -p "$work/out"
	cp "$@" "$work/out/"
	(cd "$work/out" && sync ./* && sha256sum ./*)
}
unpack_and_copy() {
	mkdir -p "$work/out"
	xz -dc -T0 "$xz_base" >"$work/out/base.img"
	local i
	for i in 1 2 3 4 5 6 7; do cp --sparse=always "$work/out/base.img" "$work/out/$i.img"; done
	sync "$work/out"/*.img
}
(cd "$here" && CGO_ENABLED=0 "${GO:-go}" build -o "$work/decode" ./decode)
# As the base, in blocks of 192 MiB, as xz -9 makes them.
large=$cache/bookworm-amd64-192.img.xz
[ -w "$cache" ] || large=$work/bookworm-amd64-192.img.xz
if [ ! -e "$large" ] || [ "$base" -nt "$large" ]; then
	log "packing the base in blocks of 192 MiB (once)"
	xz -0 --block-size=192MiB -T0 -c "$base" >"$large.new"
	mv "$large.new" "$large"
fi
nodes_file "$large" >"$work/large.yaml"
# A command of this script is run by a bash of its own, so that its memory is measured.
export piimg work xz_base
export -f build floor unpack_and_copy
log "packed images"
build "$work/packed" --format img.xz >/dev/null
for n in "${names[@]}"; do
	xz -t "$work/packed/$n.img.xz"
	sizes+=("$(stat -c %s "$work/packed/$n.img.xz")")
done
for _ in $(seq "${PACKED_RUNS:-3}"); do
	once packed seven bash -c 'build "$work/out" --format img.xz'
	once packed one bash -c 'build "$work/out" --format img.xz --only tom-nook'
	once packed floor bash -c 'floor "$work"/packed/*.img.xz'
	once packed floor1 bash -c 'floor "$work/packed/isabelle.img.xz"'
	once packed zst bash -c 'build "$work/out" --format img.zst'
	once packed raw bash -c 'build "$work/out"'
	once packed copies bash -c unpack_and_copy
	once packed decode "$work/decode" "$xz_base"
	once packed xz bash -c 'xz -dc -T2 "$xz_base" >/dev/null'
done
for _ in $(seq "${PACKED_SCRIPT:-1}"); do
	once packed script env PACK=1 EDITS="$work/edits" "$work/edit.sh" "$xz_base" "$work/out" "${names[@]}"
done
for format in img img.xz img.zst; do
	once packed "large-$format" "$piimg" build --quiet --nodes "$work/large.yaml" --secrets "$work/secrets.yaml" --out "$work/out" --format "$format" --only tom-nook
done
rm -rf "$work/out"
of() { awk '{ print $1 }' "$work/packed.$1" | median; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }
seven=$(of seven) one=$(of one)
more=$(awk -v a="$seven" -v b="$one" 'BEGIN { printf "%.2f", (a - b) / 6 }')
largest=$(printf '%s\n' "${sizes[@]}" | sort -n | tail -n 1)
printf '\nPacked images: medians of %s runs (the script: %s); the largest has %s times the bytes of the base\n\n' \
	"${PACKED_RUNS:-3}" "${PACKED_SCRIPT:-1}" "$(awk -v a="$largest" -v b="$(stat -c %s "$xz_base")" 'BEGIN { printf "%.4f", a / b }')"
row() { printf '| %s | %s | %s | %s | %s | %s |\n' "$@"; }
row what 'piimg, s' beside s ratio "piimg's peak, MiB"
row --- --- --- --- --- ---
beside_script() { # beside_script WHAT NAME
	[ ! -e "$work/packed.script" ] || row "$1" "$(of "$2")" 'script with xz -T0 -6' "$(of script)" \
		"$(ratio "$(of script)" "$(of "$2")") times faster" "$(peak "$work/packed.$2")"
}
beside_script '7 × .img.xz' seven
beside_script '7 × .img.zst' zst
row '7 × .img.xz' "$seven" 'cp + sync + sha256sum of them' "$(of floor)" "$(ratio "$seven" "$(of floor)")" "$(peak "$work/packed.seven")"
row 'one node' "$one" 'cp + sync + sha256sum of it' "$(of floor1)" "$(ratio "$one" "$(of floor1)")" "$(peak "$work/packed.one")"
row 'one more node' "$more" 'cp + sync + sha256sum of it' "$(of floor1)" "$(ratio "$more" "$(of floor1)")" ''
row '7 × .img' "$(of raw)" 'xz -dc -T0 once, 7 × cp, sync' "$(of copies)" "$(ratio "$(of raw)" "$(of copies)")" "$(peak "$work/packed.raw")"
row 'decoding' "$(of decode)" 'xz -dc -T2' "$(of xz)" "$(ratio "$(of decode)" "$(of xz)")" "$(peak "$work/packed.decode")"
for format in img img.xz img.zst; do
	row "one .$format from blocks of 192 MiB" "$(of "large-$format")" '' '' '' "$(peak "$work/packed.large-$format")"
done
