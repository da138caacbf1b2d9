# shellcheck shell=bash
# What the scripts of the first boot share. Sourced, never run.
#
# PIIMG_ROOT stands before every path, and is empty on a node. PIIMG_PAUSE is how
# many seconds pass between two looks at something that is waited for (2).
# shellcheck disable=SC2034  # not all of them are used here
{
	ROOT=${PIIMG_ROOT:-}
	ETC=$ROOT/etc/piimg
	KUBE=$ETC/kubernetes
	STATE=$ROOT/var/lib/piimg
	ARTIFACTS=$STATE/artifacts
	RUN=$ROOT/run/piimg
	STAMPS=$STATE/stamps
	K8S=$ROOT/etc/kubernetes
	SELF=${0##*/}
	LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
}

# shellcheck source=/dev/null
. "$ETC/node.env"
AT=$PIIMG_ENDPOINT_HOST:$PIIMG_ENDPOINT_PORT # where the API servers answer

export PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022
mkdir -p "$RUN" "$STAMPS"

# Nothing fails without a word: what no line has foreseen is told by its number. The
# line itself might show what is secret.
set -E
trap 'unforeseen "$?" "${BASH_SOURCE[0]}" "$LINENO"' ERR

unforeseen() {
	printf 'Something failed that has no description (exit %s, line %s of %s). Read the log of the node: journalctl -u piimg-firstboot\n' \
		"$1" "$3" "${2##*/}" >"$RUN/problem"
}

say() { printf '%s\n' "$*"; }

# problem TEXT...  ends the phase: the text is what the owner of the card reads. It
# says what is wrong, and what to do about it.
problem() {
	printf '%s\n' "$*" >"$RUN/problem"
	say "$*"
	exit 1
}

# note TEXT...  goes on, but tells the owner of the card.
note() {
	printf '%s\n' "$*" | put "$STATE/notes/$SELF" 644
	say "$*"
}

# put FILE MODE  writes its input to a file, which is whole or not there at all,
# whatever happens: also where a caller looks at the exit status, and bash would go
# on after an error. Programs that read all files of a folder leave out those whose
# names begin with a dot.
put() {
	local file=$1 mode=$2 new=${1%/*}/.${1##*/}.new
	mkdir -p "${file%/*}" &&
		(umask 077 && cat >"$new") &&
		chmod "$mode" "$new" &&
		sync "$new" &&
		mv -f "$new" "$file" &&
		sync "${file%/*}"
}

# install_file FROM TO MODE  copies a file if it differs, and sets CHANGED if so.
install_file() {
	local from=$1 to=$2 mode=$3
	if cmp -s "$from" "$to" && [ "$(stat -c %a "$to")" = "$mode" ]; then return 0; fi
	put "$to" "$mode" <"$from" || return
	# shellcheck disable=SC2034
	CHANGED=1
}

boot_id() { cat "$ROOT/proc/sys/kernel/random/boot_id"; }

# every_boot PHASE  whether what a phase does is lost when the node restarts.
every_boot() { case $1 in 10-* | 20-* | 30-* | 50-*) true ;; *) false ;; esac; }

# stamped NAME  whether something has been done: since the node started, if it has
# to be done each time.
stamped() {
	[ -s "$STAMPS/$1" ] || return 1
	! every_boot "$1" || grep -qF "$(boot_id)" "$STAMPS/$1"
}

# stamp NAME  remembers that something has been done, after all of it is on the card.
stamp() {
	sync
	printf '%s %s\n' "$(date -u +%FT%TZ)" "$(boot_id)" | put "$STAMPS/$1" 644
}

# patiently TRIES COMMAND...  runs a command until it succeeds.
patiently() {
	local tries=$1
	shift
	until "$@"; do
		((--tries > 0)) || return 1
		sleep "${PIIMG_PAUSE:-2}"
	done
}

offline() { [ "$PIIMG_OFFLINE" = 1 ]; }
is_k3s() { [ "$PIIMG_DISTRIBUTION" = k3s ]; }
control_plane() { [ "$PIIMG_ROLE" = control-plane ]; }
first() { [ "$PIIMG_ACTION" = init ] || [ "$PIIMG_ACTION" = server-init ]; }

# minor  prints the minor version: 34 of 1.34.1.
minor() { local v=${PIIMG_VERSION#*.}; say "${v%%.*}"; }

# free_space  prints how much the card can still take.
free_space() { df -h --output=avail "$ROOT/" | tail -n 1 | tr -d ' '; }

# node_ip  prints the node's address, the one given or else the interface's own.
node_ip() {
	if [ -n "$PIIMG_NODE_IP" ]; then
		say "$PIIMG_NODE_IP"
	else
		ip -4 -o addr show dev "$PIIMG_INTERFACE" scope global 2>/dev/null | awk '{ sub("/.*", "", $4); print $4; exit }'
	fi
}

kubectl_admin() { kubectl --kubeconfig "$K8S/admin.conf" --request-timeout=20s "$@"; }

# reachable PATH ANSWER  makes sure that the control plane answers, and is the one
# that is meant.
reachable() {
	local path=$1 answer=$2 out code=0
	out=$(curl -sS --max-time 20 --cacert "$KUBE/ca.crt" "https://$AT$path" 2>&1) || code=$?
	case $code in
	0) [ "$out" = "$answer" ] || problem "The control plane at $AT is not ready yet. Wait; piimg-status.txt on its card says how far it is." ;;
	6) problem "The name $PIIMG_ENDPOINT_HOST is not known here. Give its node a static address, or a name server that knows it." ;;
	35 | 51 | 60)
		case $out in
		*'not yet valid'* | *expired*)
			problem "The clocks of this node and of the control plane differ too much: here it is $(date -u '+%F %R') UTC. ntp: in nodes.yaml names time servers." ;;
		esac
		problem "What answers at $AT is not this cluster's control plane: cards of different secrets are mixed, or another machine has the address." ;;
	*) problem "Waiting for the control plane: nothing answers at $AT yet. Is $PIIMG_ENDPOINT_HOST on? piimg-status.txt on its card says how far it is." ;;
	esac
}

# api PATH  asks the API server as this node, with the certificate that the kubelet has.
api() {
	curl -sS --max-time 20 --cacert "$KUBE/ca.crt" --cert "$ROOT/var/lib/kubelet/pki/kubelet-client-current.pem" \
		"https://$AT$1"
}

# registered  whether the API server knows this node. 2 says that nobody answered.
registered() {
	local kind
	kind=$(api "/api/v1/nodes/$PIIMG_NODE?pretty=true" 2>/dev/null | awk -F'"' '/^ *"kind":/ { print $4; exit }' || true)
	case $kind in
	Node) return 0 ;;
	Status) return 1 ;;
	*) return 2 ;;
	esac
}
