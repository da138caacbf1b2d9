#!/bin/bash
# run.sh [options]    end-to-end test of the cluster that forms itself
#
# Builds the images of a control plane and two workers with `piimg build`, with
# artifacts made from source, boots them on one switch that leads nowhere, and reads
# the cluster with the kubeconfig that piimg wrote before they booted, from a
# "laptop" on the same switch. Prints one PASS or FAIL line a check; exit status 1
# if any failed. README.md says what is shown and how true the platforms are.
#
#   --platform P     nspawn: each node's systemd in a container (the default)
#                    qemu: each node a virtual machine with its own kernel
#   --scenario S     cuts: power is cut in the middle of init and of join, and a
#                    worker comes an hour late (the default)
#                    plain: all are switched on together, and nothing happens
#                    ha: three control planes behind a forwarder
#   --slow N         all patience times N              (default: 1, or 12 for qemu)
#
#   PIIMG            the program under test            (default: bin/piimg)
#   PIIMG_E2E_CACHE  base image, programs, artifacts   (default: piimg-e2e in the
#                    user's cache folder)
#   E2E_OVERLAY      a folder with root/ and boot/ that is laid over all nodes
#   E2E_WORK         scratch folder, kept at the end   (default: a temporary one)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pi_image=$here/../pi-image
platform=nspawn scenario=cuts slow=
while [ $# -gt 0 ]; do
	case $1 in
	--platform) platform=$2 ;;
	--scenario) scenario=$2 ;;
	--slow) slow=$2 ;;
	*) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | head -n 27 >&2; exit 2 ;;
	esac
	shift 2
done
if [ -n "${E2E_WORK:-}" ]; then
	work=$(realpath -m "$E2E_WORK") keep=1
	mkdir -p "$work"
else
	work=$(mktemp -d "${TMPDIR:-/tmp}/piimg-cluster.XXXXXX") keep=
fi
export PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=../pi-image/lib.sh
. "$pi_image/lib.sh"
# shellcheck source=../e2e/lib.sh
. "$here/../e2e/lib.sh"
# shellcheck source=nspawn.sh
. "$here/nspawn.sh"
# shellcheck source=qemu.sh
. "$here/qemu.sh"
case $platform in nspawn) slow=${slow:-1} ;; qemu) slow=${slow:-12} ;; *) die "no platform $platform" ;; esac
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
cache=${PIIMG_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piimg-e2e}
[ -x "$piimg" ] || die "$piimg is not there: make build"
need mcopy=mtools ip=iproute2 ssh=openssh-client jq=jq openssl=openssl python3=python3-minimal
"${platform}_need"

# --- who is there -------------------------------------------------------------------
# isabelle runs init. celeste is the one that comes late.
balancer=
case $scenario in
plain | cuts) control_planes=isabelle workers="blathers celeste" endpoint=isabelle ;;
ha) control_planes="isabelle tom-nook timmy" workers="blathers celeste" endpoint=10.0.0.9 balancer=external ;;
*) die "no scenario $scenario" ;;
esac
first=isabelle nodes="$control_planes $workers"
declare -A address=([isabelle]=10.0.0.50 [blathers]=10.0.0.51 [celeste]=10.0.0.52 [tom-nook]=10.0.0.53 [timmy]=10.0.0.54)
mac() { printf '52:54:00:%s' "$(md5sum <<<"$1" | sed 's/\(..\)\(..\)\(..\).*/\1:\2:\3/')"; }

# --- the switch and the laptop: network namespaces that lead nowhere --------------------
run=pi$$ switch=pi$$-switch laptop=pi$$-laptop forwarder=
# Not by ip netns exec, which also makes a mount namespace: what stays in it would hold
# on to the cards of nodes that are off.
in_switch() { nsenter --net="/run/netns/$switch" "$@"; }
in_laptop() { nsenter --net="/run/netns/$laptop" "$@"; }
network() {
	ip netns add "$switch"
	ip netns add "$laptop"
	ip -n "$switch" link add sw type bridge stp_state 0 forward_delay 0 mcast_snooping 0
	ip -n "$switch" link set sw up
	ip -n "$switch" link set lo up
	ip link add laptop netns "$switch" type veth peer name eth0 netns "$laptop"
	ip -n "$switch" link set laptop master sw up
	ip -n "$laptop" link set lo up
	ip -n "$laptop" addr add 10.0.0.9/24 dev eth0
	ip -n "$laptop" link set eth0 up
}
finish() {
	local node
	set +e
	[ -z "$forwarder" ] || kill "$forwarder" 2>/dev/null
	for node in $nodes; do
		hang_up "$node"
		"${platform}_off" "$node"
	done
	"${platform}_restore"
	unmount_trees
	ip netns del "$laptop" 2>/dev/null
	ip netns del "$switch" 2>/dev/null
	[ -n "$keep" ] || rm -rf --one-file-system "$work"
}

# --- patience --------------------------------------------------------------------------
# until_ SECONDS COMMAND...  tries until it succeeds or the time is over.
until_() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep "${pause:-0.5}"
	done
}
# within SECONDS COMMAND...  the same with the platform's patience; shows the last try.
within() {
	local seconds=$(($1 * slow)) from=$SECONDS
	shift
	if until_ "$seconds" quietly "$@"; then echo "after $((SECONDS - from)) s"; else "$@"; fi
}
quietly() { "$@" >/dev/null 2>&1; }

# --- what the laptop does ----------------------------------------------------------------
# on NODE COMMAND  by ssh, as ssh_config of the build says.
on() {
	local node=$1
	shift
	in_laptop ssh -q -F "$work/out/ssh_config" -o UserKnownHostsFile="$work/out/known_hosts" -o BatchMode=yes \
		-i "$work/key" -o IdentitiesOnly=yes -o ConnectTimeout=$((5 * slow)) -o ServerAliveInterval=10 \
		-o ControlMaster=auto -o ControlPath="$work/ssh-$node" -o ControlPersist=600 "$node" "$@"
}
hang_up() { ssh -q -o ControlPath="$work/ssh-$1" -O exit x 2>/dev/null || true; }
kubectl() { in_laptop "$artifacts/bin/kubectl" --kubeconfig "$work/out/kubeconfig" --request-timeout=$((10 * slow))s "$@"; }
ready() { # ready NODE...
	local node
	for node; do
		kubectl get node "$node" -o jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status}{end}' | grep -qx True || { kubectl get nodes -o wide; return 1; }
	done
}
# alive NODE...  Ready, and said so itself after $since: the API server remembers what
# nodes were before they lost their power.
alive() {
	local node renewed
	ready "$@" || return 1
	for node; do
		renewed=$(kubectl -n kube-node-lease get lease "$node" -o jsonpath='{.spec.renewTime}')
		[ "$(date -u -d "$renewed" +%s)" -gt "$since" ] || { echo "$node was last heard of at $renewed"; return 1; }
	done
}
# back NODE  whether the API server of a control plane is ready after a power-off.
back() { on "$1" 'sudo kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://localhost:6443 get --raw /readyz'; }
# finished NODE  whether its first boot has come to its end.
finished() { on "$1" 'sudo piimg status; test -e /var/lib/piimg/stamps/90-finished'; }
power() { # power on|off|cut NODE...
	local what=$1 node
	shift
	for node; do
		case $what in
		on) "${platform}_on" "$node" ;;
		*)
			"${platform}_off" "$node" "$what"
			hang_up "$node"
			;;
		esac
		log "$node: power $what"
	done
}
# cut_when NODE PATH  cuts the node's power as soon as it has the file, and says how
# far it had come.
cut_when() {
	local from=$SECONDS
	pause=0.05 until_ $((300 * slow)) "${platform}_has" "$1" "$2" || { echo "$2 never came"; return 1; }
	power cut "$1"
	echo "$1: $2 after $((SECONDS - from)) s"
}

# --- building ------------------------------------------------------------------------------
[ -e "$work/key" ] || ssh-keygen -q -t ed25519 -N '' -C laptop -f "$work/key"
artifacts=$cache/kubernetes/artifacts-1.34.4
write_nodes() {
	local node files
	files=$("${platform}_files")
	cat <<-YAML
		image: {path: $base, rootSize: 8GiB}
		cluster: {name: island, network: 10.0.0.0/24, gateway: 10.0.0.1, dns: [10.0.0.1]}
		kubernetes:
		  version: "1.34.4"
		  endpoint: $endpoint
		  ${balancer:+loadBalancer: $balancer}
		  artifacts: $artifacts
		defaults:
		  user: {name: nook, authorizedKeys: [$work/key.pub]}
		  sudo: nopasswd
		  ${E2E_OVERLAY:+overlays: [$E2E_OVERLAY]}
		  ${files:+files: [$files]}
		nodes:
	YAML
	for node in $control_planes; do echo "  - {hostname: $node, role: control-plane, ip: ${address[$node]}, mac: \"$(mac "$node")\"}"; done
	for node in $workers; do echo "  - {hostname: $node, role: worker, ip: ${address[$node]}, mac: \"$(mac "$node")\"}"; done
}
build() { "$piimg" build --nodes "$work/nodes.yaml" --out "$work/out" --secrets "$work/secrets.yaml"; }

# --- checks -----------------------------------------------------------------------------
# no_keys IMAGE...  none of the cluster's private keys is in the raw images.
no_keys() { python3 "$here/keysearch.py" "$work/secrets.yaml" "$@"; }
# tokens  the control plane's list of nodes and their bootstrap tokens, from its image.
tokens() { debugfs -R "cat /etc/piimg/kubernetes/tokens" "$(root_at "$work/out/$first.img")" 2>/dev/null; }
token() { awk -v node="$1" '$1 == node { print $2 }' "$work/tokens"; }
token_id() { token "$1" | cut -d . -f 1; }
has_token() { kubectl -n kube-system get secret "bootstrap-token-$(token_id "$1")" -o name; }
no_token() { ! has_token "$1" 2>/dev/null; }
no_tokens() { ! kubectl -n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o name | grep .; }

# pods  a server and a client on each worker.
pods() {
	local node
	for node in $workers; do
		cat <<-YAML
			---
			apiVersion: v1
			kind: Service
			metadata: {name: on-$node}
			spec: {selector: {on: $node}, ports: [{port: 80}]}
			---
			apiVersion: v1
			kind: Pod
			metadata: {name: web-$node, labels: {on: $node}}
			spec:
			  nodeName: $node
			  containers: [{name: web, image: "piimg.test/web:1", args: [serve]}]
			---
			apiVersion: v1
			kind: Pod
			metadata: {name: client-$node}
			spec:
			  nodeName: $node
			  containers: [{name: client, image: "piimg.test/web:1", args: [sleep]}]
		YAML
	done
}
reaches() { # reaches FROM TO  a pod on FROM, the Service of the pod on TO, by its name
	kubectl exec "client-$1" -- /web get "http://on-$2.default.svc.cluster.local/" | grep -qx "web-$2"
}
# import_web NODE  the test's own image, which no node needs for the cluster.
import_web() { on "$1" 'sudo ctr -n k8s.io images import -' <"$artifacts/images/web.tar"; }
services() {
	local from
	for from in $workers; do check "$from: the test's image" within 60 import_web "$from"; done
	pods | kubectl apply -f - >/dev/null
	# shellcheck disable=SC2086 # a list
	check "pods run on both workers" kubectl wait --for=condition=Ready --timeout=$((240 * slow))s pod --all
	reach_all ''
}
reach_all() { # reach_all PREFIX
	local from to
	for from in $workers; do
		for to in $workers; do
			[ "$from" = "$to" ] || check "$1a pod on $from reaches the Service of a pod on $to by its name" within 180 reaches "$from" "$to"
		done
	done
}

# state  what must not change when everything boots again.
state() {
	local node
	kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.uid}{"\n"}{end}'
	kubectl get namespace kube-system -o jsonpath='{.metadata.uid}{"\n"}'
	for node in $nodes; do
		on "$node" 'echo "$(hostname):"; sudo find /etc/kubernetes /etc/piimg /etc/containerd /etc/cni /var/lib/piimg/stamps /opt/cni -type f -exec sha256sum {} + | LC_ALL=C sort -k 2
			sudo find /var/lib/piimg/stamps -type f -printf "%f %T@\n" | sort'
	done
}

# no_secrets NODE  mounts its card, and looks for what only serves to join, and for
# the secrets that no worker ever has.
no_secrets() {
	local tree=$work/trees/$1 found=0 f
	trees "$work/cards/$1.img" "$tree"
	for f in etc/kubernetes/bootstrap-kubelet.conf etc/piimg/kubernetes/kubeadm.yaml etc/piimg/kubernetes/tokens etc/piimg/kubernetes/pki; do
		[ ! -e "$tree/root/$f" ] || { echo "still there: $f"; found=1; }
	done
	{ cut -d ' ' -f 2 "$work/tokens"; sed -n 's/^ *\(seed\|tokenSeed\): *"\{0,1\}\([^" ]*\).*/\2/p' "$work/secrets.yaml"
		sed -n '/BEGIN.*PRIVATE/,/END.*PRIVATE/{/-----/!s/^ *//p}' "$work/secrets.yaml"; } >"$work/patterns"
	! grep -rlF -f "$work/patterns" "$tree" || found=1
	unmount_trees
	return "$found"
}
status_file() { mtype -i "$(boot_drive "$work/cards/$1.img")" ::/piimg-status.txt | tr -d '\r'; }
status_finished() { status_file "$1" | grep -qx 'Finished: the node is ready.'; }

# --- the story ------------------------------------------------------------------------------
trap finish EXIT
base=$(base_image bookworm)
[ -e "$artifacts/SHA256SUMS" ] || PIIMG_E2E_CACHE=$cache "$here/artifacts.sh" "$artifacts"
write_nodes >"$work/nodes.yaml"
check "piimg build" build
[ -e "$work/out/kubeconfig" ] || exit 1
check "kubeconfig is for its owner alone" [ "$(stat -c %a "$work/out/kubeconfig")" = 600 ]
for node in $workers; do check "$node: no private key of the cluster in the image (search of its bytes)" no_keys "$work/out/$node.img"; done
openssl pkey -in <(sed -n '/BEGIN.*PRIVATE/,/END.*PRIVATE/{s/^ *//p;/END/q}' "$work/secrets.yaml") -outform DER -out "$work/der"
check "the search finds a key that is there" sh -c '! python3 "$@" >/dev/null' sh "$here/keysearch.py" "$work/secrets.yaml" "$work/der"
check "$first: the same search finds them there" sh -c '! python3 "$@" >/dev/null' sh "$here/keysearch.py" "$work/secrets.yaml" "$work/out/$first.img"
tokens >"$work/tokens"
mkdir -p "$work/cards"
for node in $nodes; do cp --sparse=always --reflink=auto "$work/out/$node.img" "$work/cards/$node.img"; done
"${platform}_prepare"
network
SECONDS=0
lap() { log "$1: $SECONDS s since the first power on"; }

case $scenario in
plain)
	# shellcheck disable=SC2086 # lists
	power on $nodes
	;;
cuts)
	power on isabelle blathers
	# Before init, in its middle, and after its last step but one.
	for at in /etc/containerd/config.toml /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/kubelet.conf; do
		check "isabelle: power cut when $at appears" cut_when isabelle $at
		power on isabelle
	done
	check "blathers: power cut in the middle of its join" cut_when blathers /etc/kubernetes/pki/ca.crt
	power on blathers
	;;
ha)
	in_laptop python3 "$here/forward.py" 10.0.0.9:6443 10.0.0.50:6443 10.0.0.53:6443 10.0.0.54:6443 &
	forwarder=$!
	# The first control plane comes last.
	power on blathers celeste timmy tom-nook isabelle
	;;
esac
check "the API answers to the kubeconfig" within 300 kubectl get nodes
lap "API"
if [ "$scenario" = cuts ]; then
	check "isabelle and blathers are Ready" within 600 ready isabelle blathers
	check "celeste's token waits for it" within 60 has_token celeste
	check "blathers' token is deleted" within 600 no_token blathers
	# An hour: what an hour does is to end the token's life.
	check "celeste's token expires" kubectl -n kube-system patch secret "bootstrap-token-$(token_id celeste)" --type merge \
		-p '{"stringData":{"expiration":"2020-01-01T00:00:00Z"}}'
	power on celeste
fi
# shellcheck disable=SC2086 # lists
check "all nodes are Ready" within 900 ready $nodes
lap "Ready"
for node in $nodes; do check "$node: its first boot is finished" within 600 finished "$node"; done
lap "finished"
check "no bootstrap token is left" within 900 no_tokens
lap "tokens gone"
services
if [ "$scenario" = ha ]; then
	for node in $control_planes; do
		power cut "$node"
		check "the API answers without $node" within 180 kubectl get nodes
		power on "$node"
		check "$node is back" within 600 back "$node"
	done
	since=$(date +%s)
	# shellcheck disable=SC2086 # a list
	check "all nodes are Ready again" within 300 alive $nodes
fi
state >"$work/state.before"
kubectl get nodes,pods -A -o wide || true

# shellcheck disable=SC2086 # lists
power off $nodes
for node in $nodes; do
	check "$node: piimg-status.txt says that it is finished" status_finished "$node"
	status_file "$node" | sed 's/^/     | /'
done
for node in $workers; do
	check "$node: no secret on its card" no_secrets "$node"
	check "$node: no private key of the cluster on its card (search of its bytes)" no_keys "$work/cards/$node.img"
done

since=$(date +%s)
# shellcheck disable=SC2086 # lists
power on $nodes
# shellcheck disable=SC2086 # lists
check "after power-off: all nodes are Ready" within 900 alive $nodes
for node in $nodes; do check "$node: after power-off: its first boot is finished" within 300 finished "$node"; done
reach_all "after power-off: "
state >"$work/state.after"
check "after power-off: nothing has changed" diff "$work/state.before" "$work/state.after"
lap "all"
[ $failed = 0 ] && echo "all checks passed" || echo "some checks FAILED"
exit $failed
