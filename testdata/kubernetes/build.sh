#!/bin/bash
# build.sh VERSION PROGRAM...    build programs of Kubernetes, as testdata/kubernetes/build.sh 1.34.4 kubeadm
#
# Builds static programs of k8s.io/kubernetes/cmd from the Go module proxy, as they
# are in Kubernetes' own releases but for the date and the commit, and prints the
# folder that they are in. What is there already is not built again.
#
#   PIIMG_KUBERNETES_CACHE   where they go: a folder for each version (v1.34.4).
#                            Unless set, piimg/kubernetes in the user's cache
#   GOOS, GOARCH             for which system; others than this one's get a folder
#                            of their own (v1.34.4-linux-arm64)
#   GO                       the go command
#
# kubeadm takes about two minutes on two cores, all of Kubernetes about six; later
# versions gain from what the earlier ones left in Go's build cache.
set -euo pipefail
if [ $# -lt 2 ]; then
	sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n 15 >&2
	exit 2
fi
version=${1#v}
shift
go=${GO:-go}
case $version in
1.*.*) ;;
*)
	echo "build.sh: $version is no version of Kubernetes; write one such as 1.34.4" >&2
	exit 2
	;;
esac

cache=${PIIMG_KUBERNETES_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/piimg/kubernetes}
out=$cache/v$version
target=$("$go" env GOOS)-$("$go" env GOARCH)
if [ "$target" != "$("$go" env GOHOSTOS)-$("$go" env GOHOSTARCH)" ]; then out=$out-$target; fi

missing=()
for program in "$@"; do
	[ -x "$out/$program" ] || missing+=("$program")
done
if [ ${#missing[@]} = 0 ]; then
	echo "$out"
	exit 0
fi
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The module k8s.io/kubernetes replaces its parts by folders that are not in it.
# They are published as modules of their own: 1.34.4 goes with v0.34.4.
mod=$("$go" mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
(
	cd "$work"
	"$go" mod init piimg.invalid/kubernetes 2>/dev/null
	"$go" mod edit -require "k8s.io/kubernetes@v$version"
	sed -n 's/^[[:space:]]*\(k8s\.io\/[a-z-]*\) => .*/\1/p' "$mod" | while read -r part; do
		"$go" mod edit -replace "$part=$part@v0.${version#1.}"
	done

	set=k8s.io/component-base/version
	flags="-s -w -X $set.gitVersion=v$version -X $set.gitMajor=1 -X $set.gitMinor=$(cut -d. -f2 <<<"$version") \
-X $set.gitTreeState=clean -X $set.gitCommit=0000000000000000000000000000000000000000 \
-X $set.buildDate=1970-01-01T00:00:00Z -X k8s.io/client-go/pkg/version.gitVersion=v$version"
	for program in "${missing[@]}"; do
		echo "building $program of Kubernetes $version" >&2
		CGO_ENABLED=0 "$go" build -mod=mod -trimpath -buildvcs=false -ldflags "$flags" -o "$work/$program" "k8s.io/kubernetes/cmd/$program"
		chmod 755 "$work/$program"
		# Complete or not at all, also if two build the same.
		cp "$work/$program" "$out/.$program.$$"
		mv "$out/.$program.$$" "$out/$program"
	done
)
echo "$out"
