#!/bin/bash
# make.sh   make the small file systems of example_test.go again (root)
#
# clean.img.gz    4 MiB, of Raspberry Pi OS's kind
# unclean.img.gz  the same as it was copied while the kernel had it mounted
#                 and had written /etc/late: that is in the journal only
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
export E2FSPROGS_FAKE_TIME=1735732800 TZ=UTC
work=$(mktemp -d)
trap 'mountpoint -q "$work/mnt" && umount "$work/mnt"; rm -rf "$work"' EXIT
mkdir -p "$work/tree"/{etc/ssh,usr/bin,home/pi} "$work/mnt"
echo raspberrypi >"$work/tree/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n' >"$work/tree/etc/hosts"
echo 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"' >"$work/tree/etc/os-release"
ln -s ../etc/os-release "$work/tree/usr/os-release"
printf '#!/bin/sh\necho hello\n' >"$work/tree/usr/bin/hello"
chmod 755 "$work/tree/usr/bin/hello"
chown -R 1000:1000 "$work/tree/home/pi"
find "$work/tree" -exec touch -h -d @1735732800 {} +
mkfs.ext4 -q -b 1024 -O '^64bit,^huge_file' -L rootfs -U 11111111-2222-3333-4444-555555555555 \
	-E hash_seed=01234567-89ab-cdef-0123-456789abcdef -d "$work/tree" "$work/img" 4M
gzip -9n <"$work/img" >clean.img.gz
mount -o loop "$work/img" "$work/mnt"
echo 'written before the power went' >"$work/mnt/etc/late"
sync "$work/mnt/etc/late"
cp "$work/img" "$work/unclean"
umount "$work/mnt"
gzip -9n <"$work/unclean" >unclean.img.gz
