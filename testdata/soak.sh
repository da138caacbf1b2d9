#!/bin/sh
# Runs the ext4 property test for HOURS (default 1), with new seeds each round,
# and stops at the first finding, with the seed that shows it again.
# TMPDIR in memory makes it twice as fast.
set -eu
cd "$(dirname "$0")/../imagebuild/ext4"
hours=${1:-1}
checks=${CHECKS:-5}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
${GO:-go} test -c -o "$work/ext4.test" .

end=$(awk -v now="$(date +%s)" -v hours="$hours" 'BEGIN { printf "%d", now + hours * 3600 }')
rounds=0
steps=0
operations=0
while [ "$(date +%s)" -lt "$end" ]; do
	seed=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')
	if ! EXT4_TEST_SEED=$seed EXT4_TEST_CHECKS=$checks "$work/ext4.test" \
		-test.run '^TestModel$' -test.v -test.timeout 2h >"$work/log" 2>&1; then
		cat "$work/log"
		echo "found after $operations operations; again: EXT4_TEST_SEED=$seed EXT4_TEST_CHECKS=$checks go test -run TestModel ./imagebuild/ext4"
		exit 1
	fi
	line=$(grep ' steps (' "$work/log")
	rounds=$((rounds + 1))
	steps=$((steps + $(echo "$line" | sed 's/.* \([0-9]*\) steps .*/\1/')))
	operations=$((operations + $(echo "$line" | sed 's/.*(\([0-9]*\) operations.*/\1/')))
	echo "seed $seed: $line"
done
echo "$rounds rounds, $steps steps, $operations operations: nothing found"
