# shellcheck shell=bash
# What the scripts of the first boot share. Sourced, never run.
#
# PIIMG_ROOT stands before every path, and is empty on a node.
ROOT=${PIIMG_ROOT:-}
ETC=$ROOT/etc/piimg
KUBE=$ETC/kubernetes
STATE=$ROOT/var/lib/piimg
ARTIFACTS=$STATE/artifacts
RUN=$ROOT/run/piimg
STAMPS=$STATE/stamps
K8S=$ROOT/etc/kubernetes
# shellcheck disable=SC2034  # the scripts that source this run others
LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# shellcheck source=/dev/null
. "$ETC/node.env"

export PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
mkdir -p "$RUN" "$STATE" "$STAMPS"

say() { printf '%s\n' "$*"; }

# problem TEXT...  ends the phase: the text is what the owner of the card reads.
problem() {
	printf '%s\n' "$*" >"$RUN/problem"
	say "$*"
	exit 1
}

# put FILE MODE  writes its input to a file, which is whole or not there at all,
# whatever happens.
put() {
	local file=$1 mode=$2 tmp
	mkdir -p "${file%/*}"
	tmp=$(mktemp "$file.XXXXXX")
	cat >"$tmp"
	chmod "$mode" "$tmp"
	sync "$tmp" 2>/dev/null || sync
	mv -f "$tmp" "$file"
	sync "${file%/*}" 2>/dev/null || sync
}

# install_file FROM TO MODE  copies a file if it differs; whether it did is the
# exit status.
install_file() {
	local from=$1 to=$2 mode=$3
	if cmp -s "$from" "$to" && [ "$(stat -c %a "$to")" = "$mode" ]; then return 1; fi
	put "$to" "$mode" <"$from"
}

stamped() { [ -e "$STAMPS/$1" ]; }
stamp() { date -u +%FT%TZ | put "$STAMPS/$1" 644; }

offline() { [ "$PIIMG_OFFLINE" = 1 ]; }
k3s() { [ "$PIIMG_DISTRIBUTION" = k3s ]; }
control_plane() { [ "$PIIMG_ROLE" = control-plane ]; }
first() { [ "$PIIMG_ACTION" = init ] || [ "$PIIMG_ACTION" = server-init ]; }

# minor  prints the minor version: 34 of 1.34.1.
minor() { local v=${PIIMG_VERSION#*.}; say "${v%%.*}"; }

# node_ip  prints the node's address, the one given or else the interface's own.
node_ip() {
	if [ -n "$PIIMG_NODE_IP" ]; then
		say "$PIIMG_NODE_IP"
	else
		ip -4 -o addr show dev "$PIIMG_INTERFACE" scope global 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }'
	fi
}

# fill FILE  prints a configuration with the node's address in its place.
fill() { sed "s/@NODE_IP@/$(node_ip)/g" "$1"; }

# has_deb NAME  whether a package is among those that came with the card.
has_deb() { compgen -G "$ARTIFACTS/debs/$1_*.deb" >/dev/null; }

kubectl_admin() { kubectl --kubeconfig "$K8S/admin.conf" --request-timeout=20s "$@"; }

# api PATH  asks the API server as this node, whose certificate the kubelet has.
api() {
	curl -sS --max-time 20 --cacert "$KUBE/ca.crt" --cert "$ROOT/var/lib/kubelet/pki/kubelet-client-current.pem" \
		"https://$PIIMG_ENDPOINT_HOST:$PIIMG_ENDPOINT_PORT$1"
}

# registered  whether the API server knows this node. 2 says that nobody answered.
registered() {
	local code
	code=$(api "/api/v1/nodes/$PIIMG_NODE?pretty=true" 2>/dev/null | awk -F'"' '/^ *"kind":/ { print $4; exit }' || true)
	case $code in
	Node) return 0 ;;
	Status) return 1 ;;
	*) return 2 ;;
	esac
}
