#!/bin/bash
# run.sh [ERA...]     end-to-end test on bootable images (stretch and bookworm)
#
# For each era: builds two nodes from the base image in every packing and compares
# the results; runs e2fsck, fsck.fat and piimg check on them; compares every file that
# the plan does not name with the base's; boots one node under QEMU, on a network without a
# way out and with the clock of a board that has none (2000-01-01), and looks at it
# from inside, before and after a reboot. Last, a node with rootSize whose base has the
# first-boot program of the published images (it grows the root and changes the disk's id).
# Prints one PASS or FAIL line a check; exit status 1 if any failed.
#
#   PIIMG            the program under test            (default bin/piimg)
#   PIIMG_E2E_CACHE  where base images are kept        (default piimg-e2e in the
#                    user's cache folder); <era>-amd64.img, made on first use by
#                    ../pi-image/make-image.sh as root: 2 to 3 minutes and 2 GB each
#   E2E_PACKINGS     which packings                    (default: img img.xz zip img.gz img.zst)
#   E2E_BOOT=0       build and compare only
#   E2E_FIRSTBOOT=0  leave out the first-boot program
#   E2E_WORK         scratch folder, kept at the end   (default: a temporary one)
#
# Without KVM the guests run under TCG: about a minute to a login, and the whole
# run takes 12 to 20 minutes. Comparing owners needs root (a read-only mount).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
pi_image=$here/../pi-image
if [ -n "${E2E_WORK:-}" ]; then
	work=$(realpath -m "$E2E_WORK") keep=1
	mkdir -p "$work"
else
	work=$(mktemp -d "${TMPDIR:-/tmp}/piimg-e2e.XXXXXX") keep=
fi
export PI_IMAGE_TMP=${PI_IMAGE_TMP:-$work/vms}
# shellcheck source=../pi-image/lib.sh
. "$pi_image/lib.sh"
# shellcheck source=lib.sh
. "$here/lib.sh"
piimg=$(realpath "${PIIMG:-$here/../../bin/piimg}")
cache=${PIIMG_E2E_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/piimg-e2e}
boot=$pi_image/boot.sh
read -ra packings <<<"${E2E_PACKINGS:-img img.xz zip img.gz img.zst}"
eras=("$@")
[ ${#eras[@]} -gt 0 ] || eras=(stretch bookworm)
[ -x "$piimg" ] || die "$piimg is not there: make build"
export PATH=$PATH:/usr/sbin:/sbin
need qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils mcopy=mtools fsck.fat=dosfstools e2fsck=e2fsprogs \
	sshpass=sshpass ssh=openssh-client xz=xz-utils zip=zip zstd=zstd python3=python3-minimal jq=jq openssl=openssl

vms=()
finish() {
	local vm
	for vm in "${vms[@]}"; do
		ssh -q -o ControlPath="$work/cm-$vm" -O exit x 2>/dev/null || true
		"$boot" --stop "$vm" || true
	done
	unmount_trees
	[ -n "$keep" ] || rm -rf "$work"
}
trap finish EXIT

# --- what is built ---------------------------------------------------------------
# The first node gets a static address that fits QEMU's user-mode network, the
# second one comes up by DHCP. Bookworm's has another user than pi.
password=$(openssl rand -hex 12)
export E2E_PASSWORD=$password
build_time=$(date +%s)
export SOURCE_DATE_EPOCH=$build_time
[ -e "$work/key" ] || ssh-keygen -q -t ed25519 -N '' -C e2e -f "$work/key"
user_of() { if [ "$1" = bookworm ]; then echo nook; else echo pi; fi; }
write_nodes() { # write_nodes BASE USER [ROOTSIZE]
	mkdir -p "$work/overlay/root/opt/e2e" "$work/overlay/boot"
	printf '#!/bin/sh\necho a tool\n' >"$work/tool"
	echo 'from the overlay' >"$work/overlay/root/opt/e2e/note"
	echo 'from the overlay' >"$work/overlay/boot/note.txt"
	cat <<-YAML
		image: {path: $1${3:+, rootSize: $3}}
		cluster:
		  name: e2e
		  network: 10.0.2.0/24
		  gateway: 10.0.2.2
		  dns: [10.0.2.3]
		defaults:
		  user:
		    name: $2
		    password: {env: E2E_PASSWORD}
		    authorizedKeys: [$work/key.pub]
		  timezone: Asia/Tokyo
		  locale: de_DE.UTF-8
		  keymap: de
		  sudo: nopasswd
		  cmdline: [piimg.e2e=1]
		  files:
		    - {path: /etc/e2e.conf, content: "one line\n", mode: "0640", owner: root:games}
		    - {path: /opt/e2e/tool, source: $work/tool, mode: "0755"}
		    - {path: /home/$2/mine, content: "mine\n", mode: "0600", owner: "$2:$2"}
		  overlays: [$work/overlay]
		nodes:
		  - {hostname: isabelle, role: control-plane, ip: 10.0.2.50}
		  - {hostname: tom-nook, role: plain, ip: dhcp}
	YAML
}
build() { # build NODES OUT  to a log, which is shown if it fails
	"$piimg" build --nodes "$1" --out "$2" --secrets "$work/secrets.yaml" >"$2.log" 2>&1 || { cat "$2.log"; return 1; }
}

# --- looking at a guest -----------------------------------------------------------
# on VM COMMAND  runs it as the node's user, by key, with the seeded host keys.
on() {
	ssh -q -p "$(cat "$PI_IMAGE_TMP/vm/$1/ssh-port")" -i "$work/key" -o IdentitiesOnly=yes -o BatchMode=yes \
		-o HostKeyAlias="$host" -o UserKnownHostsFile="$known" -o StrictHostKeyChecking=yes \
		-o ConnectTimeout=60 -o ControlMaster=auto -o ControlPath="$work/cm-$1" -o ControlPersist=600 \
		"$user@127.0.0.1" "$2"
}
# by_password VM USER PASSWORD  whether it opens the door.
by_password() {
	sshpass -p "$3" ssh -p "$(cat "$PI_IMAGE_TMP/vm/$1/ssh-port")" -o PubkeyAuthentication=no \
		-o NumberOfPasswordPrompts=1 -o ControlPath=none -o ConnectTimeout=60 \
		-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "$2@127.0.0.1" true
}
# refused VM USER PASSWORD  the server says so; that it is out of reach will not do.
refused() {
	local said
	if said=$(by_password "$@" 2>&1); then echo "let in"; return 1; fi
	grep -q "^$2@127.0.0.1: Permission denied" <<<"$said" || { echo "$said"; return 1; }
}
scanned() { # whether the guest shows the keys of known_hosts, and no others of their types
	local port keys
	port=$(cat "$PI_IMAGE_TMP/vm/$1/ssh-port")
	keys=$(ssh-keyscan -T 60 -p "$port" -t ed25519,ecdsa 127.0.0.1 2>/dev/null | awk '/^[^#]/ { print $2, $3 }' | sort)
	[ "$(wc -l <<<"$keys")" = 2 ] || { echo "$keys"; return 1; }
	while read -r key; do grep -qF "$key" "$known" || { echo "not in known_hosts: $key"; return 1; }; done <<<"$keys"
}
# until_settled  waits for the end of the boot. Not by --wait: a daemon-reload on the
# way loses who waits.
until_settled='for i in $(seq 400); do case $(systemctl is-system-running) in running | degraded) break ;; esac; sleep 2; done'
settled() { on "$1" "$until_settled"'; systemctl is-system-running; systemctl list-jobs; ! systemctl is-system-running | grep -q start'; }
no_swap() { on "$1" 's=$(/sbin/swapon --show --noheadings) && echo "$s" && test -z "$s"'; }
# Images made before resize2fs_once stopped reloading systemd can lose its end under
# emulation, and here there is nothing to grow.
no_resize=systemd.mask=resize2fs_once.service
failed_units='systemctl --failed --no-legend --plain | cut -d " " -f 1 | sort'

# after_reboot VM BOOTS  waits for boot number BOOTS and its ssh server.
after_reboot() {
	local end=$((SECONDS + 600))
	while [ "$SECONDS" -lt "$end" ]; do
		[ "$(cat "$PI_IMAGE_TMP/vm/$1/boots")" -ge "$2" ] && on "$1" true 2>/dev/null && return 0
		sleep 2
	done
	tail -n 5 "$PI_IMAGE_TMP/vm/$1/serial.log"
	return 1
}

# inside VM FAILED  the checks from inside; FAILED lists the units that fail in the
# untouched image too.
inside() {
	local vm=$1 known_failed=$2
	check "$vm: ssh by key, host key as in known_hosts" on "$vm" 'test "$(id -un)" = '"$user"
	check "$vm: the boot comes to an end" settled "$vm"
	check "$vm: both host keys are those of known_hosts" scanned "$vm"
	check "$vm: ssh by the new password" by_password "$vm" "$user" "$password"
	check "$vm: the old password is refused" refused "$vm" "$user" raspberry
	[ "$user" = pi ] || check "$vm: user pi is refused" refused "$vm" pi raspberry
	check "$vm: uid 1000 is $user, with its home" on "$vm" \
		'id; ls -ld ~; test "$(id -u)" = 1000 && test ~ = /home/'"$user"' && test -O ~ && test -e ~/.bashrc'
	check "$vm: sudo without a password" on "$vm" 'test "$(sudo -n id -u)" = 0'
	check "$vm: authorized_keys is the user's own" on "$vm" \
		'test "$(stat -c "%a %U:%G" ~/.ssh ~/.ssh/authorized_keys | tr "\n" " ")" = "700 '"$user:$user 600 $user:$user"' "'
	check "$vm: hostname" on "$vm" 'hostname; test "$(hostname)" = '"$host"' && test "$(cat /etc/hostname)" = '"$host"
	check "$vm: hosts" on "$vm" 'cat /etc/hosts; getent hosts '"$host"' && ! grep -q raspberrypi /etc/hosts'
	check "$vm: no swap" no_swap "$vm"
	check "$vm: cmdline argument" on "$vm" 'cat /proc/cmdline; grep -qw piimg.e2e=1 /proc/cmdline'
	check "$vm: the clock is not before the build ($(date -u -d "@$build_time" +%FT%TZ), board: 2000)" on "$vm" \
		'date -u; test "$(date +%s)" -ge '"$build_time"
	check "$vm: timezone" on "$vm" 'date +%Z; readlink /etc/localtime; test "$(date +%Z)" = JST'
	check "$vm: locale" on "$vm" 'cat /etc/default/locale; locale -a; . /etc/default/locale; test "$LANG" = de_DE.UTF-8 && locale -a | grep -qix de_DE.utf8'
	check "$vm: keymap" on "$vm" 'cat /etc/default/keyboard; . /etc/default/keyboard; test "$XKBLAYOUT" = de'
	check "$vm: the user's files, with owner and mode" on "$vm" \
		'stat -c "%a %U:%G %n" /etc/e2e.conf /opt/e2e/tool ~/mine /opt/e2e/note
		 test "$(stat -c "%a %U:%G" /etc/e2e.conf /opt/e2e/tool ~/mine | tr "\n" ",")" = "640 root:games,755 root:root,600 '"$user:$user"'," &&
		 test "$(/opt/e2e/tool)" = "a tool" && test "$(cat /opt/e2e/note)" = "from the overlay"'
	check "$vm: the overlay's boot file" on "$vm" 'cat /boot/note.txt /boot/firmware/note.txt 2>/dev/null | grep -q overlay'
	check "$vm: no unit failed that does not fail in the untouched image" on "$vm" \
		"$failed_units"' | grep -vxF -e "$(printf "%s\n" '"$known_failed"')" | { ! grep .; }'
	on "$vm" "$failed_units"' | while read -r u; do sudo systemctl status --no-pager --full -n 12 "$u"; done' 2>&1 |
		sed 's/^/     | /' || true
}

# untouched ERA BASE  prints the units that fail in the base image as it is.
untouched() {
	local vm=untouched-$1 list
	list=$cache/$1-amd64.failed-units
	[ -w "$cache" ] || list=$work/$1.failed-units
	if [ ! -e "$list" ] || [ "$2" -nt "$list" ]; then
		vms+=("$vm")
		"$boot" "$2" --name "$vm" --net mgmt --rtc 2000-01-01 --append "$no_resize" --wait login >&2
		# The console shows the boot's own lines as well: ours are marked.
		"$boot" --console "$vm" "$until_settled; sleep 2; $failed_units | sed 's/^/failed: /'; echo failed: -" 700 |
			tr -d '\r' | sed -n 's/^failed: //p' >"$list.new"
		"$boot" --stop "$vm"
		mv "$list.new" "$list"
	fi
	tr '\n' ' ' <"$list"
}

# --- one era ------------------------------------------------------------------------
test_era() {
	local era=$1 base first='' packing dir known_failed img node
	local host user known vm
	base=$(base_image "$era")
	user=$(user_of "$era")
	for packing in "${packings[@]}"; do
		# The same nodes.yaml for all of them, and a name that gives nothing away:
		# nothing but the base's packing differs.
		dir=$work/$era/$packing
		mkdir -p "$dir"
		packed "$packing" "$base" "$dir/base"
		write_nodes base "$user" >"$dir/nodes.yaml"
		check "$era: build from .$packing" build "$dir/nodes.yaml" "$dir/out"
		[ -e "$dir/out/isabelle.img" ] || continue
		if [ -z "$first" ]; then
			first=$packing
			continue
		fi
		for node in isabelle tom-nook; do
			check "$era: $node from .$packing is that from .$first" same_image "$work/$era/$first" "$dir" "$node"
		done
		rm -rf "$dir"
	done
	[ -n "$first" ] || return 0
	"$piimg" plan --json --nodes "$work/$era/$first/nodes.yaml" --secrets "$work/secrets.yaml" >"$work/$era/plan.json"
	trees "$base" "$work/$era/base-tree"
	for node in isabelle tom-nook; do
		img=$work/$era/$first/out/$node.img
		check "$era: $node: e2fsck -fn" clean_root "$img"
		check "$era: $node: fsck.fat -n" clean_boot "$img"
		check "$era: $node: piimg check" "$piimg" check -q "$img"
		trees "$img" "$work/$era/$node-tree"
		check "$era: $node: every file that the plan does not name is the base's" \
			python3 "$here/compare.py" "$work/$era/base-tree" "$work/$era/$node-tree" "$work/$era/plan.json" "$node"
	done
	unmount_trees
	check "$era: SHA256SUMS" sh -c 'cd "$1" && sha256sum --quiet -c SHA256SUMS' sh "$work/$era/$first/out"
	[ "${E2E_BOOT:-1}" = 1 ] || return 0

	known_failed=$(untouched "$era" "$base")
	host=isabelle known=$work/$era/$first/out/known_hosts vm=$era-isabelle
	vms+=("$vm")
	check "$vm: boots and its ssh answers at the static address" "$boot" "$work/$era/$first/out/isabelle.img" \
		--name "$vm" --net mgmt,addr=10.0.2.50 --rtc 2000-01-01 --append "$no_resize"
	inside "$vm" "$known_failed"
	check "$vm: static address, gateway, name server" on "$vm" \
		'ip -4 -br addr; ip route; cat /etc/resolv.conf
		 ip -4 addr show eth0 | grep -qF "inet 10.0.2.50/24" && ip route | grep -q "^default via 10.0.2.2 " && grep -q "^nameserver 10.0.2.3$" /etc/resolv.conf'
	on "$vm" 'sudo systemctl reboot' || true
	ssh -q -o ControlPath="$work/cm-$vm" -O exit x 2>/dev/null || true
	check "$vm: comes back after a reboot, with the same host keys" after_reboot "$vm" 2
	settled "$vm" || true
	check "$vm: no swap after a reboot either" no_swap "$vm"
	check "$vm: the clock is not before the build after a reboot either" on "$vm" 'date -u; test "$(date +%s)" -ge '"$build_time"
	"$boot" --stop "$vm"
}
# same_image DIR1 DIR2 NODE  bit-identical but for the SHA-256 of the packed base,
# which the note on the boot partition tells: each that of its own base.
same_image() {
	local a=$1/out/$3.img b=$2/out/$3.img n d note notes=()
	for d in "$1" "$2"; do
		note=$(mtype -i "$(boot_drive "$d/out/$3.img")" ::/piimg-node.txt)
		grep -q "$(sha256sum <"$d/base" | cut -d ' ' -f 1)" <<<"$note" || { echo "$note"; return 1; }
		notes+=("$(grep -v '^sha256:' <<<"$note")")
	done
	[ "${notes[0]}" = "${notes[1]}" ] || { printf '%s\n' "${notes[@]}"; return 1; }
	n=$(cmp -l "$a" "$b" | awk 'NR == 1 { first = $1 } { last = $1 } END { print last - first }')
	[ "$n" -lt 64 ] || { cmp -l "$a" "$b" | head -n 5; return 1; }
}

# first_boot ERA  the base with its init= program, as published; the node by DHCP.
first_boot() {
	local era=$1 base init img old host user known vm f
	base=$(base_image "$era")
	user=$(user_of "$era") host=tom-nook vm=$era-first-boot
	known=$work/$era-first/out/known_hosts
	mkdir -p "$work/$era-first"
	img=$work/$era-first/base.img
	cp --sparse=always "$base" "$img"
	init=/usr/lib/raspi-config/init_resize.sh
	[ "$era" != bookworm ] || init=/usr/lib/raspberrypi-sys-mods/firstboot
	# The programs as they are beside this script: a cached image may have older ones.
	for f in "$era$init" common/etc/init.d/resize2fs_once; do
		printf 'rm /%s\nwrite %s /%s\nsif /%s mode 0100755\nsif /%s uid 0\nsif /%s gid 0\n' \
			"${f#*/}" "$pi_image/overlay/$f" "${f#*/}" "${f#*/}" "${f#*/}" "${f#*/}"
	done | debugfs -w -f - "$(root_at "$img")" >/dev/null 2>&1
	e2fsck -fn "$(root_at "$img")" >/dev/null 2>&1 || die "the base with $init is not clean"
	mtype -i "$(boot_drive "$img")" ::/cmdline.txt | tr -d '\r' | sed "1s#\$# quiet init=$init#" >"$work/cmdline"
	mcopy -o -i "$(boot_drive "$img")" "$work/cmdline" ::/cmdline.txt
	# Enlarged by piimg, then by the first boot: one must not stand in the other's way.
	write_nodes "$img" "$user" 2200MiB >"$work/$era-first/nodes.yaml"
	check "$vm: build" build "$work/$era-first/nodes.yaml" "$work/$era-first/out"
	check "$vm: the root is enlarged" [ "$(part_field "$work/$era-first/out/tom-nook.img" 2 size)" = $((2200 * 2048)) ]
	check "$vm: e2fsck -fn" clean_root "$work/$era-first/out/tom-nook.img"
	old=$(disk_id "$img")
	check "$vm: the built image has the base's disk id" [ "$(disk_id "$work/$era-first/out/tom-nook.img")" = "$old" ]
	vms+=("$vm")
	check "$vm: boots twice and answers" "$boot" "$work/$era-first/out/tom-nook.img" --name "$vm" --net user --size 4G
	check "$vm: the first-boot program ran and rebooted" [ "$(cat "$PI_IMAGE_TMP/vm/$vm/boots")" -ge 2 ]
	inside "$vm" "$(untouched "$era" "$base")"
	check "$vm: address by DHCP" on "$vm" 'ip -4 addr show eth0 | grep -qF "inet 10.0.2.15/24"'
	check "$vm: fstab, cmdline.txt and the disk agree on the PARTUUIDs" on "$vm" \
		'id=$(lsblk -no PARTUUID "$(findmnt -no SOURCE /)"); id=${id%-02}
		 cat /proc/cmdline /etc/fstab; echo "disk: $id"
		 grep -q "root=PARTUUID=$id-02" /proc/cmdline && grep -q "^PARTUUID=$id-01 " /etc/fstab && grep -q "^PARTUUID=$id-02 " /etc/fstab &&
		 ! grep -q init= /proc/cmdline'
	if [ "$era" = bookworm ]; then
		check "$vm: the disk id is another one now" on "$vm" '! grep -q '"$old"' /proc/cmdline'
	fi
	check "$vm: the root has grown over the card" on "$vm" 'df -m /; test "$(df -m --output=size / | tail -n 1)" -gt 2500'
	"$boot" --stop "$vm"
}

for era in "${eras[@]}"; do
	case $era in stretch | bookworm) ;; *) die "no such era: $era" ;; esac
	test_era "$era"
done
if [ "${E2E_BOOT:-1}" = 1 ] && [ "${E2E_FIRSTBOOT:-1}" = 1 ]; then first_boot "${eras[-1]}"; fi
[ $failed = 0 ] && echo "all checks passed in $SECONDS s" || echo "some checks FAILED ($SECONDS s)"
exit $failed
