#!/bin/bash
# run.sh [FOLDER]   compare ext4.Check with e2fsck on e2fsprogs' own damaged images
#
# Fetches Debian's source package of the e2fsprogs that is installed (or takes
# the unpacked one in FOLDER), checks it against the sums in the signed .dsc,
# and runs Check and e2fsck -fn on every image of its tests: each Check in a
# process of its own with 1 GiB of address space and a minute. Writes
# RESULTS.md; fails if a verdict differs and differences.txt does not say why.
# Images that the tests make by scripts are left out. Needs apt-get and network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=../pi-image/lib.sh
. "$here/../pi-image/lib.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PATH=$PATH:/usr/sbin:/sbin

version=$(dpkg-query -W -f '${source:Version}' e2fsprogs)
source=${1:-}
if [ -z "$source" ]; then
	mkdir -p "$work/lists/partial"
	codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
	echo "deb-src $(find_mirror "$codename") $codename main" >"$work/sources.list"
	apt=(-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::State::lists="$work/lists" -o APT::Sandbox::User=)
	apt-get "${apt[@]}" -qq update
	(cd "$work" && apt-get "${apt[@]}" -qq source --download-only "e2fsprogs=$version")
	# apt has verified the archive's signature down to the .dsc; the rest is by its sums.
	(cd "$work" && sed -n '/^Checksums-Sha256:/,/^[^ ]/ s/^ \([0-9a-f]\{64\}\) [0-9]* \(.*\)/\1  \2/p' ./*.dsc | sha256sum -c --quiet)
	source=$work/e2fsprogs
	mkdir "$source"
	tar -xf "$work"/e2fsprogs_*.orig.tar.gz -C "$source" --strip-components=1
fi

cd "$here/../../imagebuild/ext4"
status=0
EXT4_E2FSPROGS_TESTS=$source/tests EXT4_E2FSPROGS_RESULTS=$work/table.md \
	go test -count=1 -timeout 30m -run '^TestPublishedImages$' -v . || status=$?
[ -s "$work/table.md" ] || exit "$status"
{
	echo "# Check beside e2fsck, on e2fsprogs' own damaged images"
	echo
	echo "Made by run.sh with the images and the e2fsck of Debian's e2fsprogs $version."
	echo "\"Check\" lists what kinds of findings there are and how many of each, or what is refused."
	echo
	cat "$work/table.md"
} >"$here/RESULTS.md"
exit "$status"
