#!/bin/bash
# reproducible.sh     build the demo's nodes twice and compare the bytes
#
# The second build runs 400 days later, with another number of jobs, in another
# folder, with other file times, time zone, language and umask. A Go program
# asks the kernel for the time without the C library, so faketime has no hold on
# it: the second binary is built with a standard library whose clock is ahead.
# Both sets of images, all files beside them must be the same.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
export WIFI_PASS=turnip-prices
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

goroot=$("$go" env GOROOT)
sed 's/^\(\tsec, nsec, mono := \(runtimeN\|n\)ow()\)$/\1\n\tsec += 400 * 86400/' "$goroot/src/time/time.go" >"$work/time.go"
printf '{"Replace": {"%s": "%s"}}\n' "$goroot/src/time/time.go" "$work/time.go" >"$work/overlay.json"
cat >"$work/year.go" <<'GO'
package main

import (
	"fmt"
	"time"
)

func main() { fmt.Println(time.Now().Unix() / 86400) }
GO
today=$("$go" run "$work/year.go") later=$("$go" run -overlay "$work/overlay.json" "$work/year.go")
[ $((later - today)) -ge 399 ] || { echo "the clock of the second build is not ahead: $today, $later" >&2; exit 1; }

for n in 1 2; do
	mkdir "$work/$n"
	cp -R testdata/demo testdata/images "$work/$n/"
done
version="-X main.version=reproducible"
CGO_ENABLED=0 "$go" build -trimpath -ldflags "$version" -o "$work/1/piimg" ./cmd/piimg
CGO_ENABLED=0 "$go" build -trimpath -ldflags "$version" -overlay "$work/overlay.json" -o "$work/2/piimg" ./cmd/piimg

(cd "$work/1" && ./piimg build --quiet --nodes demo/nodes.yaml --secrets "$work/secrets.yaml" --out out --jobs 1)
find "$work/2" -exec touch -d '2031-05-06 07:08:09' {} +
mkdir -p "$work/2/a/long/way/down"
(
	cd "$work/2/a/long/way/down"
	umask 077
	export TZ=Pacific/Auckland LC_ALL=C.UTF-8 LANG=tr_TR.UTF-8 HOME=/nonexistent XDG_CACHE_HOME=$work/2/cache
	"$work/2/piimg" build --quiet --nodes "$work/2/demo/nodes.yaml" --secrets "$work/secrets.yaml" --out "$work/2/out" --jobs 3
)
failed=0
for f in $(find "$work/1/out" "$work/2/out" -type f -printf '%P\n' | sort -u); do
	if cmp "$work/1/out/$f" "$work/2/out/$f"; then echo "same: $f"; else failed=1; fi
done
exit $failed
