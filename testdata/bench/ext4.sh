#!/bin/bash
# ext4.sh   the ext4 editor beside debugfs -w and a loop mount (root)
#
# On a file system of Raspberry Pi OS's kind, 2 GiB with every nth file of /usr:
# opening and closing it, replacing one small file, creating 1,000 files of
# 3,000 bytes in a new folder, and reading every file. Each is a process, or
# for the mount the commands of a script, that ends when the image is synced to
# disk. Tools take turns, with the image in the page cache; the table has medians.
# Afterwards e2fsck looks at all three images.
#
# debugfs reads by `cat`, one command a file: `rdump` would write the tree, too.
#
#   RUNS        rounds                          (default 5)
#   FILES       files in the tree               (default 30000)
#   BENCH_WORK  scratch folder, 10 GB free      (default: a temporary one)
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=lib.sh
. testdata/bench/lib.sh
[ "$(id -u)" = 0 ] || { echo "the loop mount needs root" >&2; exit 1; }
PATH=$PATH:/usr/sbin:/sbin
runs=${RUNS:-5}
work=$(mktemp -d "${BENCH_WORK:-${TMPDIR:-/tmp}}/piimg-ext4.XXXXXX")
mnt=$work/mnt
trap 'mountpoint -q "$mnt" && umount "$mnt"; rm -rf "$work"' EXIT
mkdir "$work/tree" "$work/tree/etc" "$mnt"
CGO_ENABLED=0 "${GO:-go}" build -o "$work/ext4" ./testdata/bench/ext4

step=$(find /usr -xdev -type f -size -33M | wc -l | awk -v files="${FILES:-30000}" '{ n = int($1 / files); print (n > 0) ? n : 1 }')
find /usr -xdev -type f -size -33M | LC_ALL=C sort | awk -v n="$step" 'NR % n == 0' >"$work/list"
tar -C / -cf - -T "$work/list" 2>/dev/null | tar -C "$work/tree" -xf -
echo raspberrypi >"$work/tree/etc/hostname"
(cd "$work/tree" && find . -type f) | sed 's/^\.\(.*\)/cat "\1"/' >"$work/cat"
mkfs.ext4 -q -F -b 4096 -O '^64bit,^huge_file' -d "$work/tree" "$work/piimg.img" 2G
echo "$(wc -l <"$work/cat") files, $(du -sm "$work/tree" | cut -f1) MiB, $(nproc) CPUs, $(debugfs -V 2>&1 | head -n 1)"
rm -rf "$work/tree"
for tool in debugfs loop; do cp --sparse=always "$work/piimg.img" "$work/$tool.img"; done
printf '%.0scontent ' {1..375} | head -c 2999 | sed 's/$/\n/' >"$work/content"
cat "$work"/*.img >/dev/null

mounted() { # mounted COMMAND…   runs it with the image mounted
	mount -o loop "$work/loop.img" "$mnt"
	"$@"
	umount "$mnt"
}
edit_mounted() { echo "node-$1" >"$mnt/etc/hostname"; }
create_mounted() {
	mkdir "$mnt/bench-$1"
	local i content
	content=$(cat "$work/content")
	for ((i = 0; i < 1000; i++)); do echo "$content" >"$mnt/bench-$1/file-$i"; done
}
read_mounted() { find "$mnt" -xdev -type f -print0 | xargs -0 cat | wc -c; }

work_piimg() {
	case $1 in
	open) "$work/ext4" open "$work/piimg.img" ;;
	edit) "$work/ext4" edit "$work/piimg.img" etc/hostname "node-$2" ;;
	create) "$work/ext4" create "$work/piimg.img" "bench-$2" 1000 "$work/content" ;;
	read) "$work/ext4" read "$work/piimg.img" ;;
	esac
}
work_debugfs() {
	case $1 in
	open) debugfs -w -R 'lcd /' "$work/debugfs.img" ;;
	edit)
		echo "node-$2" >"$work/hostname"
		printf 'rm /etc/hostname\nwrite %s /etc/hostname\n' "$work/hostname" | debugfs -w -f - "$work/debugfs.img"
		;;
	create)
		{
			printf 'mkdir /bench-%s\ncd /bench-%s\n' "$2" "$2"
			for ((i = 0; i < 1000; i++)); do echo "write $work/content file-$i"; done
		} | debugfs -w -f - "$work/debugfs.img"
		;;
	read) debugfs -f "$work/cat" "$work/debugfs.img" | wc -c ;;
	esac
	sync "$work/debugfs.img"
}
work_loop() {
	case $1 in
	open) mounted true ;;
	*) mounted "$1_mounted" "$2" ;;
	esac
	sync "$work/loop.img"
}

for ((run = 0; run < runs; run++)); do
	for what in open edit create read; do
		for tool in piimg debugfs loop; do
			sync "$work"/*.img
			start=$EPOCHREALTIME
			"work_$tool" "$what" "$run" >"$work/out" 2>"$work/err" || { cat "$work/err" >&2; exit 1; }
			end=$EPOCHREALTIME
			echo "$(((${end/[.,]/} - ${start/[.,]/}) / 100))" >>"$work/$tool.$what"
		done
	done
done
for tool in piimg debugfs loop; do
	e2fsck -fn "$work/$tool.img" >"$work/out" 2>&1 || { echo "$tool:" && cat "$work/out"; }
	debugfs -R "ls -p /bench-$((runs - 1))" "$work/$tool.img" 2>/dev/null | grep -c /3000/ | grep -qx 1000 || echo "$tool: files are missing"
done

echo
# Medians are in tenths of a millisecond.
echo "| median of $runs | piimg | debugfs -w | loop mount |"
echo "| --- | --: | --: | --: |"
while read -r what name; do
	awk -v name="$name" -v a="$(median <"$work/piimg.$what")" -v b="$(median <"$work/debugfs.$what")" -v c="$(median <"$work/loop.$what")" \
		'BEGIN { printf "| %s | %.1f ms | %.1f ms (%.1f×) | %.1f ms (%.1f×) |\n", name, a/10, b/10, b/a, c/10, c/a }'
done <<-ROWS
	open open and close
	edit replace one file
	create create 1,000 files
	read read every file
ROWS
