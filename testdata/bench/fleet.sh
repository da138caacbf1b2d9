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
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
work=$(mktemp -d "${TMPDIR:-/tmp}/piimg-fleet.XXXXXX")
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME=$work/cache

nodes_file() { # nodes_file N
	cat <<-YAML
		image: {path: $here/../images/bookworm.img.xz}
		cluster: {name: fleet, network: 10.0.0.0/16, gateway: 10.0.0.1, dns: [10.0.0.1]}
		defaults:
		  user: {name: pi, authorizedKeys: [$here/../demo/demo.pub]}
		  timezone: Europe/Berlin
		  locale: en_GB.UTF-8
	YAML
	[ -z "${KUBE:-}" ] || echo "kubernetes: {version: 1.34.1, podSubnet: 10.128.0.0/10}"
	echo "nodes:"
	echo "  - {hostname: head, ip: 10.0.0.2, role: control-plane}"
	[ "$1" = 1 ] || echo "  - {hostname: 'w[00002-$(printf %05d "$1")]', ip: 10.0.1.0, role: worker}"
}
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }
printf '| nodes | seconds | CPU seconds | peak MiB |\n| --: | --: | --: | --: |\n'
for n in ${NODES:-1 10 100 1000 10000}; do
	nodes_file "$n" >"$work/nodes.yaml"
	rm -f "$work"/{wall,cpu,peak}
	for _ in $(seq "${RUNS:-5}"); do
		command time -f '%e %U %S %M' -o "$work/time" "$piimg" plan --quiet --nodes "$work/nodes.yaml" --node head >/dev/null
		read -r wall user system peak < <(tail -n 1 "$work/time")
		echo "$wall" >>"$work/wall"
		awk "BEGIN { print $user + $system }" >>"$work/cpu"
		echo "$peak" >>"$work/peak"
	done
	printf '| %d | %.2f | %.2f | %d |\n' "$n" "$(median <"$work/wall")" "$(median <"$work/cpu")" "$(($(median <"$work/peak" | cut -d. -f1) / 1024))"
done
