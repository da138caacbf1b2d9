#!/bin/sh
# merge.sh OUT DIR...
#
# Puts the folders into which the shards of a build were built together, as one build
# of all nodes would have filled OUT, to the byte. The files are moved. Shards that are
# built into the same folder need none of this: each adds its own files there.
#
# Needs sha256sum (coreutils) and jq.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 OUT DIR..." >&2; exit 2; }
out=$1
shift
die() { echo "$0: $*" >&2; exit 1; }
mkdir -p "$out"
[ -z "$(ls -A "$out")" ] || die "$out is not empty"
for dir; do
	(cd "$dir" && sha256sum --quiet --strict -c SHA256SUMS) || die "$dir is damaged"
done
manifests=$(for dir; do printf '%s\n' "$dir/manifest.json"; done)
# What the shards were made of must be the same: the base, nodes.yaml, piimg itself.
echo "$manifests" | tr '\n' '\0' | xargs -0 cat |
	jq -e -s 'map(del(.nodes)) | unique | length == 1' >/dev/null || die "the folders are of different builds"
echo "$manifests" | tr '\n' '\0' | xargs -0 cat |
	jq --indent 1 -s '.[0] + {nodes: (map(.nodes) | add | sort_by(.hostname))}' >"$out/manifest.json"
for dir; do
	for file in "$dir"/*; do
		name=${file##*/}
		case $name in manifest.json | SHA256SUMS) continue ;; esac
		if [ ! -e "$out/$name" ]; then
			mv "$file" "$out/$name"
		elif ! cmp -s "$file" "$out/$name"; then
			die "$name differs between the folders: were the secrets the same?"
		fi
	done
done
{
	for dir; do grep -v ' manifest\.json$' "$dir/SHA256SUMS" || :; done
	cd "$out" && sha256sum manifest.json
} | LC_ALL=C sort -u -k 2 >"$out/.SHA256SUMS"
mv "$out/.SHA256SUMS" "$out/SHA256SUMS"
