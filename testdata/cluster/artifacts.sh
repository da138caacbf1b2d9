#!/bin/bash
# artifacts.sh DIR    make a folder of artifacts from which nodes become a cluster without internet
#
# DIR is what `kubernetes.artifacts` of nodes.yaml names, for kubeadm on the amd64
# image of Bookworm that ../pi-image makes:
#
#   bin/     kubeadm, kubelet, kubectl, built from k8s.io/kubernetes
#   images/  the container images by the names that kubeadm and flannel's manifest
#            use, each of one program that is built from its Go module; where it
#            needs iptables, with that of Debian. And piimg.test/web:1, for the test
#   debs/    containerd, runc, the CNI plugins and what else the image lacks, from
#            Debian's archive
#   SHA256SUMS
#
#   PIIMG_E2E_CACHE   what is built is kept in kubernetes/ of it (default: piimg-e2e
#                     in the user's cache folder)
#   GO                the go command
#
# Needs the Go module proxy, a C compiler (flannel's UDP backend), Debian's archive
# by the apt-get of an amd64 Bookworm, jq. From nothing it takes 12 minutes on two
# cores, with all programs in the cache some 20 seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../pi-image/lib.sh
. "$here/../pi-image/lib.sh"
# shellcheck source=image.sh
. "$here/image.sh"
go=${GO:-go}
cache=${PIIMG_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piimg-e2e}/kubernetes
dir=$(realpath -m "${1:?usage: artifacts.sh DIR}")

# What kubeadm and flannel's manifest ask for; imagebuild/kube knows the same.
kubernetes=1.34.4 etcd=3.6.5 coredns=1.12.1 pause=3.10.1 flannel=0.28.4 plugin=1.9.1-flannel1
need jq=jq gcc=gcc dpkg-deb=dpkg
mkdir -p "$cache" "$dir/bin" "$dir/images" "$dir/debs"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# --- programs ------------------------------------------------------------------
log "programs of Kubernetes $kubernetes"
k8s=$(PIIMG_KUBERNETES_CACHE=$cache GO=$go "$here/../kubernetes/build.sh" "$kubernetes" \
	kubeadm kubelet kubectl kube-apiserver kube-controller-manager kube-scheduler kube-proxy)

# module NAME PACKAGE MODULE@VERSION... -- FLAG...  builds PACKAGE of the modules into
# the cache, where it is called NAME, and prints its path.
module() {
	local name=$1 package=$2 at=$cache/$1 build
	shift 2
	if [ ! -x "$at" ]; then
		log "building ${at##*/}"
		build=$work/build-$name
		mkdir -p "$build"
		(
			cd "$build"
			"$go" mod init piimg.invalid/program 2>/dev/null
			while [ "$1" != -- ]; do
				"$go" mod edit -require "$1"
				shift
			done
			shift
			"$go" build -mod=mod -trimpath -buildvcs=false "$@" -o program "$package"
			mv program "$at.new"
			mv "$at.new" "$at"
		) >&2
	fi
	echo "$at"
}
export CGO_ENABLED=0
etcd_bin=$(module "etcd-$etcd" go.etcd.io/etcd/server/v3 "go.etcd.io/etcd/server/v3@v$etcd" -- -ldflags '-s -w')
coredns_bin=$(module "coredns-$coredns" github.com/coredns/coredns "github.com/coredns/coredns@v$coredns" -- -ldflags '-s -w')
# flannel names a version of one SDK that the proxy does not have: a later one does.
# Its backend for UDP is C, as in its own releases.
flannel_bin=$(CGO_ENABLED=1 module "flannel-$flannel" github.com/flannel-io/flannel "github.com/flannel-io/flannel@v$flannel" \
	github.com/tencentcloud/tencentcloud-sdk-go/tencentcloud/common@v1.3.206 -- -tags netgo,osusergo \
	-ldflags "-s -w -extldflags=-static -X github.com/flannel-io/flannel/pkg/version.Version=v$flannel")
# github.com/flannel-io/cni-plugin is not on the proxy; this is the same program
# before it moved there.
plugin_bin=$(module flannel-cni-0.9.1 github.com/containernetworking/plugins/plugins/meta/flannel github.com/containernetworking/plugins@v0.9.1 -- -ldflags '-s -w')
for program in pause web; do
	(cd "$here/programs/$program" && "$go" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/$program" main.go)
done
install -m 755 "$k8s/kubeadm" "$k8s/kubelet" "$k8s/kubectl" "$dir/bin/"

# --- packages --------------------------------------------------------------------
# download TO PACKAGE...  fetches packages once, without those that they depend on.
download() {
	local to=$1 package
	shift
	mkdir -p "$to"
	for package in "$@"; do
		compgen -G "$to/${package}_*.deb" >/dev/null || (cd "$to" && apt-get download -qq "$package") || die "apt-get download $package"
	done
}
apt-get update -qq >&2 || true
log "packages"
download "$cache/debs" containerd runc containernetworking-plugins conntrack socat ebtables ipset libipset13
cp "$cache/debs"/*.deb "$dir/debs/"
# iptables with its libraries, and a shell.
download "$cache/iptables" iptables libip4tc2 libip6tc2 libxtables12 libnftnl11 libmnl0 libnfnetlink0 \
	libnetfilter-conntrack3 libc6 conntrack nftables libnftables1 libedit2 libbsd0 libmd0 libtinfo6 libgmp10 \
	libjansson4 ipset libipset13 busybox-static

# --- images ------------------------------------------------------------------------
debian=$work/debian
mkdir -p "$debian"
for deb in "$cache/iptables"/*.deb; do dpkg-deb -x "$deb" "$debian"; done
(cd "$debian" && rm -rf usr/share etc lib/systemd usr/lib/x86_64-linux-gnu/gconv)
for name in iptables ip6tables; do
	for kind in '' -save -restore; do ln -sf xtables-nft-multi "$debian/usr/sbin/$name$kind"; done
done
for name in sh cp; do ln -s busybox "$debian/bin/$name"; done
mkdir -p "$debian/tmp" "$debian/run" "$debian/etc"

# image FILE REF PROGRAM AT [BASE]  makes images/FILE.tar: PROGRAM at the path AT,
# on top of the folder BASE.
image() {
	local root=$work/root
	rm -rf "$root"
	mkdir -p "$root"
	[ -z "${5:-}" ] || cp -a "$5/." "$root"
	install -D -m 755 "$3" "$root$4"
	docker_archive "$2" "$root" "$dir/images/$1.tar" "$4"
}
log "container images"
registry=registry.k8s.io
for name in kube-apiserver kube-controller-manager kube-scheduler; do
	image $name $registry/$name:v$kubernetes "$k8s/$name" /usr/local/bin/$name
done
image kube-proxy $registry/kube-proxy:v$kubernetes "$k8s/kube-proxy" /usr/local/bin/kube-proxy "$debian"
image etcd $registry/etcd:$etcd-0 "$etcd_bin" /usr/local/bin/etcd
image coredns $registry/coredns/coredns:v$coredns "$coredns_bin" /coredns
image pause $registry/pause:$pause "$work/pause" /pause
image flannel ghcr.io/flannel-io/flannel:v$flannel "$flannel_bin" /opt/bin/flanneld "$debian"
mkdir -p "$work/cp/bin"
cp "$debian/bin/busybox" "$work/cp/bin/cp"
image flannel-cni-plugin ghcr.io/flannel-io/flannel-cni-plugin:v$plugin "$plugin_bin" /flannel "$work/cp"
image web piimg.test/web:1 "$work/web" /web

(cd "$dir" && find . -type f ! -name SHA256SUMS ! -name '.*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum >.SHA256SUMS && mv .SHA256SUMS SHA256SUMS)
log "$dir: $(du -sh "$dir" | cut -f 1)"
