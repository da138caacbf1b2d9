#!/bin/bash
# run.sh [NAME...]    kill QEMU guests while they write to an ext4 file system, and
#                     compare this program's recovery with e2fsck's and the kernel's
#
# For each set of features (below; default: all) a guest is booted again and again
# on the same image and killed with SIGKILL after some seconds of writing. Each time
# the image is kept as it is then, with the names that the guest had synced. Then
# TestCrashes (imagebuild/ext4) recovers every image and compares it, file by file,
# with what e2fsck -fy and a mount make of it, looks for the synced names, and runs
# e2fsck -fn on it. Exit status 1 if anything differs.
#
#   CRASH_KILLS   how often each guest is killed       (default 6)
#   CRASH_WORK    scratch folder, kept at the end       (default: a temporary one)
#
# The guest is Debian's kernel for clouds and busybox, fetched by apt-get and
# unpacked, not installed. Without KVM a boot takes about ten seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=../pi-image/lib.sh
. "$here/../pi-image/lib.sh"
need qemu-system-x86_64=qemu-system-x86 mkfs.ext4=e2fsprogs dpkg-deb=dpkg
if [ -n "${CRASH_WORK:-}" ]; then
	work=$(realpath -m "$CRASH_WORK") keep=1
else
	work=$(mktemp -d "${TMPDIR:-/tmp}/piimg-crash.XXXXXX") keep=
fi
kills=${CRASH_KILLS:-6}
qemu_pid=
finish() {
	[ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || true
	[ -n "$keep" ] || rm -rf "$work"
}
trap finish EXIT
mkdir -p "$work/packages" "$work/images"

# name, mkfs.ext4's features and block size, mount options
sets=(
	'stretch ^64bit,^metadata_csum     4096 commit=1'
	'csum64  64bit,metadata_csum       4096 commit=1'
	'orphans metadata_csum,orphan_file 4096 commit=1'
	'small   64bit,metadata_csum       1024 commit=1,data=journal'
	'async   ^64bit,^metadata_csum     1024 commit=1,data=writeback,journal_async_commit'
)

# --- the guest -------------------------------------------------------------------
guest() { # vmlinuz and initrd in $work
	local kernel modules root=$work/initrd.root m
	apt-get update -qq >/dev/null 2>&1 || true
	kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	(cd "$work/packages" && apt-get download -qq "$kernel" busybox-static >/dev/null 2>&1) || die "apt-get download $kernel busybox-static"
	dpkg-deb -x "$(ls "$work"/packages/linux-image-*.deb)" "$work/packages/kernel"
	dpkg-deb -x "$(ls "$work"/packages/busybox-static*.deb)" "$work/packages/busybox"
	cp "$work"/packages/kernel/boot/vmlinuz-* "$work/vmlinuz"
	mkdir -p "$root/bin" "$root/modules"
	cp "$work"/packages/busybox/bin/busybox "$root/bin/"
	ln -sf busybox "$root/bin/sh"
	install -m 755 "$here/init" "$root/init"
	modules=$work/packages/kernel/lib/modules
	for m in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk; do
		find "$modules" -name "$m.ko" -exec cp {} "$root/modules/" \;
	done
	(cd "$root" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) | gzip -1 >"$work/initrd"
}
[ -s "$work/initrd" ] || guest

accel=(-accel "tcg,thread=multi" -cpu Nehalem)
if [ -w /dev/kvm ] && grep -Eqw 'vmx|svm' /proc/cpuinfo; then accel=(-accel kvm -cpu host); fi

# run_guest IMG OPTIONS BOOT SECONDS  boots, lets it write for SECONDS, kills it.
run_guest() {
	local console=$work/console i
	: >"$console"
	qemu-system-x86_64 -machine q35 "${accel[@]}" -m 256M -smp 2 -display none -monitor none -no-reboot -nic none \
		-kernel "$work/vmlinuz" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet mitigations=off panic=-1 crash.options=$2 crash.boot=$3" \
		-drive "file=$1,format=raw,if=none,id=d" -device virtio-blk-pci,drive=d -serial "file:$console" &
	qemu_pid=$!
	for ((i = 0; i < 1200; i++)); do
		grep -aq '^writing' "$console" && break
		kill -0 "$qemu_pid" 2>/dev/null || break
		sleep 0.1
	done
	sleep "$4"
	kill -KILL "$qemu_pid" 2>/dev/null || { tail -n 20 "$console"; die "the guest ended by itself"; }
	wait "$qemu_pid" 2>/dev/null || true
	qemu_pid=
	grep -aq '^writing' "$console" || { tail -n 20 "$console"; die "the guest did not come up"; }
}

for set in "${sets[@]}"; do
	read -r name features block options <<<"$set"
	if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
	disk=$work/$name.disk
	rm -f "$disk"
	mkfs.ext4 -q -F -b "$block" -O "$features" "$disk" 96M
	for ((k = 1; k <= kills; k++)); do
		# Not all at the same moment of the one-second commit.
		seconds=$((1 + k * 5 / 3)).$((k * 37 % 100))
		run_guest "$disk" "$options" "$k" "$seconds"
		cp --sparse=always "$disk" "$work/images/$name-$k.img"
		# The last 10 that it said are synced: it removes older ones.
		tr -d '\r' <"$work/console" | sed -n 's/^durable //p' | tail -n 10 >"$work/images/$name-$k.synced"
		log "$name: killed after $seconds s, $(wc -l <"$work/images/$name-$k.synced") names to look for"
	done
	rm -f "$disk"
done

cd "$here/../.."
EXT4_TEST_CRASHES=$work/images go test ./imagebuild/ext4 -count=1 -run '^TestCrashes$' -v |
	grep -v '^=== ' | grep -E -v -- '--- PASS: TestCrashes/'
