#!/bin/bash
# reproducible.sh     build the demo's nodes twice, in every format, and compare the bytes
#
# From a base image in three packings (one that is spliced, one that is cloned, one that
# is packed again into the cache), in each format. What the two builds do not share:
#
#   clock       the second runs 400 days later. A Go program asks the kernel for the time
#               without the C library, so faketime has no hold on it, and the kernel's own
#               clock is not ours to change: the second binary is built with a standard
#               library whose clock is ahead
#   machine     the second has none of klauspost/compress's assembly and, where the
#               processor can, fused floating point, as on arm64
#   folders     other ones, of other file systems (as root: tmpfs, XFS and btrfs, the
#               latter two with reflinks)
#   inputs      the second's have other times and modes, as after a clone on another day
#               under another umask, and its secrets come from the environment
#   cache       the first's is warm, the second's is cold
#   user        as root, the second is nobody, with a home that is not there
#   and         --jobs, GOMAXPROCS, TZ, LC_ALL, LANG, umask
#
# The folders must be the same, file by file, and piimg build --check-against the first
# one must accept the second. At last, something is changed: both must then fail.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" = 0 ] && [ -z "${REPRODUCIBLE_MOUNTS:-}" ] && unshare -m true 2>/dev/null; then
	# A mount namespace of our own, so that no mount can outlive this script.
	REPRODUCIBLE_MOUNTS=1 exec unshare -m "$0"
fi
go=${GO:-go}
export WIFI_PASS=turnip-prices
work=$(mktemp -d)
mounts=()
cleanup() {
	for m in "${mounts[@]}"; do umount "$m" || umount -l "$m"; done
	rm -rf "$work"
}
trap cleanup EXIT
die() { echo "$*" >&2; exit 1; }
left_out() { echo "left out: $*"; }

# The second binary.
goroot=$("$go" env GOROOT)
sed 's/^\(\tsec, nsec, mono := \(runtimeN\|n\)ow()\)$/\1\n\tsec += 400 * 86400/' "$goroot/src/time/time.go" >"$work/time.go"
printf '{"Replace": {"%s": "%s"}}\n' "$goroot/src/time/time.go" "$work/time.go" >"$work/overlay.json"
cat >"$work/day.go" <<'GO'
package main

import (
	"fmt"
	"time"
)

func main() { fmt.Println(time.Now().Unix() / 86400) }
GO
today=$("$go" run "$work/day.go") later=$("$go" run -overlay "$work/overlay.json" "$work/day.go")
[ $((later - today)) -ge 399 ] || die "the clock of the second build is not ahead: $today, $later"
mkdir "$work/bin" "$work/1"
flags=(-trimpath -buildvcs=false -ldflags '-X main.version=reproducible')
CGO_ENABLED=0 "$go" build "${flags[@]}" -o "$work/bin/1" ./cmd/piimg
level=v1
if [ "$("$go" env GOARCH)" = amd64 ] && grep -qw fma /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo && grep -qw bmi2 /proc/cpuinfo; then
	level=v3
else
	left_out "fused floating point: not on this processor"
fi
GOAMD64=$level CGO_ENABLED=0 "$go" build "${flags[@]}" -tags noasm -overlay "$work/overlay.json" -o "$work/bin/2" ./cmd/piimg

# The second user.
as=()
if [ "$(id -u)" != 0 ]; then
	left_out "another user, and file systems to mount: that needs root"
else
	nobody=65534
	as=(setpriv "--reuid=$nobody" "--regid=$nobody" --clear-groups)
	chmod 711 "$work"
	"${as[@]}" "$work/bin/2" version >/dev/null || die "another user cannot run $work/bin/2: set TMPDIR to a folder where it can"
fi

# filesystem DIR TYPE: mounts a new file system there, if we may.
filesystem() {
	local dir=$1 type=$2
	mkdir "$dir"
	if [ "$(id -u)" != 0 ]; then return; fi
	if [ "$type" = tmpfs ]; then
		mount -t tmpfs -o size=2g tmpfs "$dir" 2>/dev/null || { left_out "$type: no mounts here"; return; }
	else
		if ! command -v "mkfs.$type" >/dev/null; then
			[ "${CI:-}" != true ] || die "mkfs.$type is missing"
			left_out "$type: mkfs.$type is missing (testdata/tools.sh)"
			return
		fi
		truncate -s 4G "$dir.fs"
		"mkfs.$type" -q "$dir.fs" >/dev/null
		mount -o loop "$dir.fs" "$dir" 2>/dev/null || { left_out "$type: no loop mounts here"; return; }
	fi
	mounts+=("$dir")
	chown "$nobody:$nobody" "$dir"
}

# same DIR1 DIR2: whether two folders hold the same files, of the same bytes.
same() {
	local f failed=0
	[ "$(find "$1" -type f | wc -l)" -ge 12 ] || { echo "$1 lacks files"; return 1; }
	while read -r f; do
		cmp -- "$1/$f" "$2/$f" || failed=1
	done < <(find "$1" "$2" ! -type d -printf '%P\n' | LC_ALL=C sort -u)
	return "$failed"
}

first() { # first PACKING FORMAT OUT [OPTION...]
	(
		umask 022
		export TZ=UTC LC_ALL=C XDG_CACHE_HOME=$work/1/cache
		cd "$work/1/$1"
		"$work/bin/1" build --quiet --nodes demo/nodes.yaml --secrets "$work/secrets.yaml" --jobs 1 --format "$2" --out "$3" "${@:4}" >/dev/null
	)
}
second() { # second PACKING FORMAT AGAINST
	local dir=$work/2.$1/a/long/way/down
	mkdir -p "$dir"
	if [ -n "${nobody:-}" ]; then chown -R "$nobody:$nobody" "$3" "$work/2.$1"; fi
	(
		umask 077
		cd "$dir"
		# By env, for bash would complain about a locale that is not installed.
		env TZ=Pacific/Auckland LC_ALL=tr_TR.UTF-8 LANG=de_DE.UTF-8 GOMAXPROCS=7 HOME=/nonexistent \
			"XDG_CACHE_HOME=$dir/cache.$2" "PIIMG_SECRETS=$(cat "$work/secrets.yaml")" "${as[@]}" \
			"$work/bin/2" build --quiet --nodes "$work/2.$1/demo/nodes.yaml" --no-create-secrets \
			--jobs 5 --format "$2" --out "$work/2.$1/out.$2" --check-against "$3" >/dev/null
	)
}

pair() { # pair RELEASE PACKING FILESYSTEM FORMAT...
	local packing=$2 failed=0 n format
	mkdir "$work/1/$packing"
	filesystem "$work/2.$packing" "$3"
	case $packing in
	img.xz) cp "testdata/images/$1.img.xz" "$work/base.img.xz" ;;
	img.gz) xz -dc "testdata/images/$1.img.xz" | gzip -n1 >"$work/base.img.gz" ;;
	img) xz -dkc "testdata/images/$1.img.xz" >"$work/base.img" ;;
	esac
	for n in "1/$packing" "2.$packing"; do
		(
			if [ "$n" != "1/$packing" ]; then umask 077; fi
			cp -R --no-preserve=mode testdata/demo "$work/$n/"
			chmod +x "$work/$n/demo/hello"
			cp --sparse=always "$work/base.$packing" "$work/$n/"
			cd "$work/$n/demo"
			sed -i "s,\.\./images/bookworm.img.xz,../base.$packing," nodes.yaml
			# Only the newer releases can be nodes of a cluster.
			[ "$1" = bookworm ] || sed -i '/^kubernetes:/,/version:/d' nodes.yaml
		)
	done
	find "$work/2.$packing" -exec touch -d '2031-05-06 07:08:09' {} +
	first "$packing" img.xz warm --only tom-nook # fills the cache of the first
	for format in "${@:4}"; do
		first "$packing" "$format" "out.$format"
		second "$packing" "$format" "$work/1/$packing/out.$format"
		same "$work/1/$packing/out.$format" "$work/2.$packing/out.$format" || failed=1
		echo "$packing on $(stat -f -c %T "$work/1/$packing") and $(stat -f -c %T "$work/2.$packing"), to $format: $([ $failed = 0 ] && echo the same || echo DIFFERENT) ($SECONDS s)"
		[ $failed = 0 ] || exit 1
	done
}

"$work/bin/1" secrets init --quiet --nodes testdata/demo/nodes.yaml --secrets "$work/secrets.yaml" >/dev/null
pair bookworm img.xz tmpfs img img.xz img.zst
pair stretch img xfs img img.xz
pair stretch img.gz btrfs img img.xz img.zst

# Were there a difference, it would be found.
rm -rf "$work/2.img.xz/out.img.xz"
status=0
said=$(WIFI_PASS=swede-prices second img.xz img.xz "$work/1/img.xz/out.img.xz" 2>&1) || status=$?
case $status,$said in
7,*'blathers.img.xz: partition 2: content of /etc/NetworkManager/'*) ;;
*) die "--check-against did not find what differs: exit code $status, $said" ;;
esac
[ ! -e "$work/2.img.xz/out.img.xz" ] || die "what differs was published"
printf '\n' >>"$work/2.img.gz/out.img/hosts"
! same "$work/1/img.gz/out.img" "$work/2.img.gz/out.img" >/dev/null 2>&1 || die "a file that differs was not found"
echo "a difference is found"
