# shellcheck shell=bash
# What the benchmarks share. Sourced, never run; `timed` needs its caller's variable
# work (a folder), `fleet` that of here (this folder).
# shellcheck disable=SC2154

# median  of the numbers on stdin, one a line.
median() { sort -n | awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'; }

# timed COMMAND...  runs it, and leaves its seconds, CPU seconds and peak of KiB in wall,
# cpu and peak. What it prints is shown only if it fails.
# shellcheck disable=SC2034
timed() {
	local user system
	command time -f '%e %U %S %M' -o "$work/time" "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
	read -r wall user system peak < <(tail -n 1 "$work/time")
	cpu=$(awk "BEGIN { print $user + $system }")
}

# fleet N IMAGE  prints the nodes file of N nodes with fixed addresses. KUBE, if it is
# not empty: of a Kubernetes cluster.
fleet() {
	cat <<-YAML
		image: {path: $2}
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

# processors  prints what is measured on.
processors() { echo "$(nproc) × $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"; }
