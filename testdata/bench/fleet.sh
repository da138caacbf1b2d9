#!/bin/bash
# fleet.sh     time and peak memory of planning 1 to 10,000 nodes
#
# Each row is a process that reads nodes.yaml and the base image, makes the plans of
# all nodes, as build does before it writes, and prints that of the first.
#
#   NODES   how many, in turn       (default "1 10 100 1000 10000")
#   RUNS    of which the medians    (default 5)
#   PIIMG   the program             (default bin/piimg)
#   KUBE    not empty: workers of a Kubernetes cluster
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
work=$(mktemp -d "${TMPDIR:-/tmp}/piimg-fleet.XXXXXX")
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache

printf '| nodes | seconds | CPU seconds | peak MiB |\n| --: | --: | --: | --: |\n'
for n in ${NODES:-1 10 100 1000 10000}; do
	fleet "$n" "$here/../images/bookworm.img.xz" >"$work/nodes.yaml"
	rm -f "$work"/{wall,cpu,peak}
	for _ in $(seq "${RUNS:-5}"); do
		timed "$piimg" plan --quiet --nodes "$work/nodes.yaml" --node head
		for what in wall cpu peak; do echo "${!what}" >>"$work/$what"; done
	done
	printf '| %d | %.2f | %.2f | %d |\n' "$n" "$(median <"$work/wall")" "$(median <"$work/cpu")" "$(($(median <"$work/peak" | cut -d. -f1) / 1024))"
done
