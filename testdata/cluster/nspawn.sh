# shellcheck shell=bash
# The platform nspawn: a node is the systemd of its image in a container of this
# machine's kernel. Sourced by run.sh; needs its variables work, switch and laptop,
# and its function mac.
#
# What is as on a board: the image's root is mounted as the card's file system, and
# its own systemd, containerd, kubelet and network manager run in it, with their own
# process numbers, cgroups, network interface and address. What is not: the kernel
# is this machine's and the same for all, its modules are built in, there is no
# hardware (udev, timesyncd and the mounts of fstab do nothing), the clock is this
# machine's, and the boot partition is a folder with the files of the FAT partition,
# which go back to it when the node is off.
# shellcheck disable=SC2154

nspawn_need() {
	[ "$(id -u)" = 0 ] || die "the platform nspawn needs root"
	need systemd-nspawn=systemd-container losetup=mount depmod=kmod python3=python3-minimal
	[ -d /sys/fs/cgroup/memory ] || [ -e /sys/fs/cgroup/cgroup.controllers ] || die "no cgroups at /sys/fs/cgroup"
}

# nspawn_prepare  what all nodes share.
nspawn_prepare() {
	local modules=$work/modules/lib/modules m
	modules=$modules/$(uname -r)
	mkdir -p "$modules"
	if [ -e "/lib/modules/$(uname -r)" ]; then cp -a "/lib/modules/$(uname -r)/." "$modules"; else
		# A kernel without modules has them built in, and modprobe wants to read so.
		for m in overlay br_netfilter vxlan nf_conntrack nf_nat ip_tables ip6_tables nf_tables ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh; do
			echo "kernel/$m.ko"
		done >"$modules/modules.builtin"
		: >"$modules/modules.order"
		depmod -b "$work/modules" "$(uname -r)" 2>/dev/null
	fi
	# kube-proxy sets the size of the table of connections, which all network
	# namespaces share and only the first one may change.
	local cores max
	cores=$(nproc)
	max=$((cores > 4 ? cores * 32768 : 131072))
	conntrack=$(sysctl -n net.netfilter.nf_conntrack_max)
	[ "$conntrack" = $max ] || sysctl -qw net.netfilter.nf_conntrack_max=$max

	# Process 1 of the container, before systemd: what systemd-nspawn does not give.
	cat >"$work/init" <<-'SH'
		#!/bin/sh
		# The node's own cgroups are writable.
		mount -o remount,bind,rw /sys/fs/cgroup
		for c in /sys/fs/cgroup/*; do mount -o remount,bind,rw,nosuid,nodev,noexec "$c" 2>/dev/null; done
		mount -o remount,bind,ro /sys/fs/cgroup
		# So are the settings of its own network, and of the whole machine none: those
		# that the kubelet sets are files with the values that it wants.
		mount --bind /proc/sys/net /proc/sys/net && mount -o remount,bind,rw /proc/sys/net
		for s in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
			kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
			f=/run/host/sysctl/$(echo "${s%=*}" | tr / .)
			echo "${s#*=}" >"$f"
			mount --bind "$f" "/proc/sys/${s%=*}"
		done
		mount --make-rshared /
		# timesyncd is not started in a container, whose clock is its host's.
		if [ -e /run/host/sysctl/clock ]; then
			mkdir -p /run/systemd/timesync
			touch /run/systemd/timesync/synchronized
		fi
		exec /sbin/init
	SH
	chmod 755 "$work/init"
}
nspawn_restore() { [ -z "${conntrack:-}" ] || sysctl -qw "net.netfilter.nf_conntrack_max=$conntrack"; }

# nspawn_files  lines for `files:` of nodes.yaml: what only this platform needs.
nspawn_files() {
	# Without CAP_SYS_RESOURCE, which root lacks on some build machines, no process
	# can be protected from the kernel's out-of-memory killer, and runc insists.
	if ! grep -Eq '^CapEff:\s*[0-9a-f]*[13579bdf][0-9a-f]{6}$' /proc/self/status; then
		cat >"$work/runc" <<-'SH'
			#!/bin/sh
			# runc without protection from the out-of-memory killer.
			last=
			for a; do
				case $last in
				--bundle) sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$a/config.json" ;;
				--process) sed -i 's/"oomScoreAdj":-[0-9]*/"oomScoreAdj":0/' "$a" ;;
				esac
				last=$a
			done
			exec /usr/sbin/runc "$@"
		SH
		echo "{path: /usr/local/sbin/runc, source: $work/runc, mode: \"0755\"}"
	fi
}

# nspawn_on NODE  power: mounts its card and starts it.
nspawn_on() {
	local node=$1 dir=$work/nodes/$1 card=$work/cards/$1.img ns=$run-$1 loop
	mkdir -p "$dir/root" "$dir/sysctl"
	rm -rf "${dir:?}/boot"
	mkdir "$dir/boot"
	mcopy -s -n -Q -m -i "$(boot_drive "$card")" ::/ "$dir/boot"
	touch "$dir/boot.read"
	# In the scenario plain there is no time server, as there is none with qemu.
	[ "$scenario" = plain ] || touch "$dir/sysctl/clock"
	loop=$(losetup -f --show -o $(($(part_field "$card" 2 start) * 512)) --sizelimit $(($(part_field "$card" 2 size) * 512)) "$card")
	echo "$loop" >"$dir/loop"
	mount -o noatime "$loop" "$dir/root"
	ip netns add "$ns"
	ip link add "$node" netns "$switch" type veth peer name eth0 address "$(mac "$node")" netns "$ns"
	ip -n "$switch" link set "$node" master sw up
	(trap '' HUP; nspawn_run "$node") </dev/null >>"$dir/console.log" 2>&1 &
	echo $! >"$dir/supervisor"
	disown
}

# nspawn_run NODE  one systemd-nspawn a boot: 133 is how it says that the node
# asked for a reboot.
nspawn_run() {
	local node=$1 dir=$work/nodes/$1 ns=$run-$1 status boot
	nspawn_groups "$node"
	boot=/boot/firmware
	[ -d "$dir/root$boot" ] || boot=/boot
	while :; do
		status=0
		echo "=== power on or reboot"
		# In a mount namespace without the other nodes' cards: nspawn keeps what it
		# finds mounted, and a card that some container holds on to is written to by
		# the old mount after the node has been switched on again.
		unshare --mount --propagation private sh -c 'echo $$ >"$1/nspawn"
			awk -v own="$1/root" "\$1 ~ /^\/dev\/loop/ && \$2 != own { print \$2 }" /proc/mounts | xargs -r umount -l
			shift; exec "$@"' sh "$dir" \
			env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=0 SYSTEMD_SECCOMP=0 systemd-nspawn --quiet --register=no --keep-unit \
			--machine="$node" --directory="$dir/root" --network-namespace-path="/run/netns/$ns" --capability=all \
			--resolv-conf=off --timezone=off --link-journal=no --console=pipe --bind=/dev/kmsg \
			--bind-ro="$work/modules/lib/modules:/usr/lib/modules" --bind="$dir/boot:$boot" \
			--bind="$dir/sysctl:/run/host/sysctl" --bind-ro="$work/init:/run/host/init" /run/host/init || status=$?
		rm -f "$dir/nspawn"
		[ $status = 133 ] || break
	done
	echo "=== off ($status)"
}

# nspawn_groups NODE  moves this process into cgroups of the node, one in each
# hierarchy, below those that the whole test runs in.
nspawn_groups() {
	local mine name group _
	mine=$(cat /proc/self/cgroup)
	while IFS=: read -r _ name group; do
		name=${name#name=} group=${group%/}
		[ -n "$name" ] || name=unified
		[ -d "/sys/fs/cgroup/$name$group" ] || continue
		group=/sys/fs/cgroup/$name$group
		mkdir -p "$group/$run-$1"
		if [ "$name" = cpuset ]; then
			cat "$group/cpuset.cpus" >"$group/$run-$1/cpuset.cpus"
			cat "$group/cpuset.mems" >"$group/$run-$1/cpuset.mems"
			echo 1 >"$group/$run-$1/cgroup.clone_children"
		fi
		echo "$BASHPID" >"$group/$run-$1/cgroup.procs"
		echo "$group/$run-$1"
	done <<<"$mine" >"$work/nodes/$1/groups"
}

# nspawn_off NODE [cut]  power off. With cut, what the file system has not written
# to the card by now is lost, as when a board's plug is pulled.
nspawn_off() {
	local node=$1 dir=$work/nodes/$1 ns=$run-$1 pid first group
	[ -e "$dir/loop" ] || return 0
	if [ "${2:-}" = cut ]; then # EXT4_IOC_SHUTDOWN, without writing the journal
		python3 -c 'import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))' "$dir/root"
	fi
	kill -KILL "$(cat "$dir/supervisor")" 2>/dev/null || true
	pid=$(cat "$dir/nspawn" 2>/dev/null || true)
	if [ -n "$pid" ]; then
		first=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null || true)
		# shellcheck disable=SC2086 # a list
		kill -KILL $first "$pid" 2>/dev/null || true
		# With process 1 all others have ended, and nothing holds the card any more.
		# shellcheck disable=SC2086 # a list
		until_ 60 nspawn_ended $first || die "$node: processes do not end"
	fi
	rm -f "$dir/nspawn"
	until_ 60 umount "$dir/root" || die "$node: its root stays mounted"
	losetup -d "$(cat "$dir/loop")"
	until_ 60 nspawn_free "$(cat "$dir/loop")" || die "$node: its card stays in use"
	rm -f "$dir/loop"
	ip netns del "$ns" 2>/dev/null || true
	ip -n "$switch" link del "$node" 2>/dev/null || true
	while read -r group; do
		find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
	done <"$dir/groups"
	nspawn_boot_partition "$node"
}

# nspawn_free DEVICE  whether a loop device has let go of its file.
nspawn_free() { [ ! -e "/sys/block/${1#/dev/}/loop/backing_file" ]; }

# nspawn_ended PID...  whether none of the processes runs.
nspawn_ended() {
	local pid
	for pid; do
		! grep -qs '^State:[[:space:]]*[^ZX]' "/proc/$pid/status" || return 1
	done
}

# nspawn_boot_partition NODE  writes to the card what changed in the boot partition.
nspawn_boot_partition() {
	local dir=$work/nodes/$1 drive f
	drive=$(boot_drive "$work/cards/$1.img")
	(cd "$dir/boot" && find . -type f -newer "$dir/boot.read" -printf '%P\n') | while read -r f; do
		mcopy -o -Q -i "$drive" "$dir/boot/$f" "::/$f"
	done
}

# nspawn_has NODE PATH  whether the running node has the file.
nspawn_has() { [ -e "$work/nodes/$1/root$2" ]; }
