#!/bin/bash
# tools.sh            install what the tests and scripts use and is missing here
# tools.sh --check    only say what is missing; exit status 1 if anything is
#
# The Go tests compare piimg with other people's tools (e2fsck, fsck.fat, mtools,
# xz, ssh-keygen, ...). A test whose tool is missing skips, or fails when CI=true.
# Installing needs apt-get and root (or sudo that asks no password); elsewhere the
# missing tools are named with their packages, and that is all.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# command=Debian package. A test can ask for no other (imagebuild/tooltest).
tools=(
	sh=dash bash=bash cmp=diffutils sed=sed xargs=findutils dpkg=dpkg dpkg-deb=dpkg
	cp=coreutils du=coreutils sha256sum=coreutils mkfifo=coreutils pwck=passwd grpck=passwd
	mount=mount umount=mount losetup=mount
	e2fsck=e2fsprogs debugfs=e2fsprogs mkfs.ext4=e2fsprogs mke2fs=e2fsprogs tune2fs=e2fsprogs
	dumpe2fs=e2fsprogs resize2fs=e2fsprogs fsck.fat=dosfstools mkfs.fat=dosfstools
	mcopy=mtools mdir=mtools mtype=mtools mshowfat=mtools mattrib=mtools mdel=mtools
	mkfs.btrfs=btrfs-progs mkfs.xfs=xfsprogs
	sfdisk=fdisk fdisk=fdisk sgdisk=gdisk
	bmaptool=bmap-tools xz=xz-utils zstd=zstd gzip=gzip zip=zip unzip=unzip age=age script=bsdutils
	ssh-keygen=openssh-client sshd=openssh-server
	wpa_passphrase=wpasupplicant visudo=sudo systemctl=systemd systemd-analyze=systemd
	containerd=containerd ctr=containerd kubectl=kubernetes-client nodeset=clustershell
	shellcheck=shellcheck git=git make=make jq=jq python3=python3-minimal openssl=openssl
)
missing=() packages=()
for pair in "${tools[@]}"; do
	command -v "${pair%%=*}" >/dev/null && continue
	missing+=("${pair%%=*} (${pair#*=})")
	case " ${packages[*]-} " in *" ${pair#*=} "*) ;; *) packages+=("${pair#*=}") ;; esac
done
# The race detector needs a C compiler; everything else is built without one.
command -v "${CC:-cc}" >/dev/null || { missing+=("cc (gcc libc6-dev)"); packages+=(gcc libc6-dev); }
[ ${#missing[@]} -gt 0 ] || exit 0
list=$(printf '%s, ' "${missing[@]}") list=${list%, }

if [ "${1:-}" = --check ]; then
	echo "missing: $list"
	exit 1
fi
run=()
if [ "$(id -u)" != 0 ]; then run=(sudo -n); fi
if ! command -v apt-get >/dev/null || ! "${run[@]}" true 2>/dev/null; then
	echo "missing here, their tests will skip: $list" >&2
	exit 0
fi
echo "installing ${packages[*]}" >&2
"${run[@]}" apt-get update -qq >&2 || true
if ! "${run[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; then
	echo "could not install all of: ${packages[*]}" >&2
	[ "${CI:-}" != true ] || exit 1
fi
