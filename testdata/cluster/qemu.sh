# shellcheck shell=bash
# The platform qemu: a node is a virtual machine that boots its image with the
# image's own kernel (../pi-image/boot.sh), on a tap interface of the switch.
# Sourced by run.sh; needs its variables work, switch, laptop and pi_image, and its
# function mac.
#
# Without KVM the processor is emulated, some 15 times slower than this machine's.
# shellcheck disable=SC2154

qemu_need() {
	[ "$(id -u)" = 0 ] || die "the platform qemu needs root for its switch"
	need qemu-system-x86_64=qemu-system-x86 qemu-img=qemu-utils
	export PI_IMAGE_TMP=$work/vms
}
qemu_prepare() { :; }
qemu_restore() { :; }
qemu_files() { :; }

# qemu_on NODE  power.
qemu_on() {
	local node=$1 mem=1536M
	case " $control_planes " in *" $node "*) mem=3072M ;; esac
	ip -n "$switch" tuntap add "$node" mode tap
	ip -n "$switch" link set "$node" master sw up
	in_switch "$pi_image/boot.sh" "$work/cards/$node.img" --name "$node" --net "tap=$node,mac=$(mac "$node")" \
		--mem "$mem" --smp 2 --keep --wait none >>"$work/$node.qemu.log" 2>&1 || die "$node does not start: $work/$node.qemu.log says why"
}

# qemu_off NODE [cut]  power off; QEMU is killed either way, and what the guest had
# not written to its disk by then is lost.
qemu_off() {
	local node=$1 dir=$PI_IMAGE_TMP/vm/$1 pid
	[ -e "$dir/disk.qcow2" ] || return 0
	touch "$dir/stopping"
	pid=$(cat "$dir/qemu.pid" 2>/dev/null || true)
	if [ -n "$pid" ]; then
		kill -KILL "$pid" 2>/dev/null || true
		until_ 30 [ ! -e "/proc/$pid" ] || die "$node: QEMU does not end"
	fi
	"$pi_image/boot.sh" --stop "$node"
	qemu-img commit -q "$dir/disk.qcow2"
	cat "$dir"/serial.*.log >>"$work/$node.serial.log"
	rm -rf "$dir"
	ip -n "$switch" link del "$node" 2>/dev/null || true
}

qemu_has() { on "$1" "sudo test -e $2"; }
