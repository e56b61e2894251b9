#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The daemon's command line: what is wrong ends with 2 and one sentence that names it; the smallest pool there may be works;
# and with however few descriptors, it serves, or says why not.
set -u
build=${SHMB_BUILD_DIR:?the build folder}
daemon_program=$build/server/shmbuddyd
folder=$(mktemp -d /tmp/shmbuddy-command-XXXXXX)
pool=command-$$
daemon=

clean_up() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	wait
	rm -rf "$folder" /dev/shm/shmbuddy."$pool" /dev/shm/shmbuddy."$pool".*
}
trap clean_up EXIT
trap 'exit 1' INT TERM
fail() {
	echo "FAILED: $*" >&2
	[ ! -s "$folder/log" ] || cat "$folder/log" >&2
	exit 1
}

# refused WORDS ARGUMENTS…: exit 2, nothing on standard output, and on standard error one line that has the words.
refused() {
	local words=$1 status
	shift
	timeout 20 "$daemon_program" --socket "$folder/socket" --pool "$pool" --ephemeral "$@" >"$folder/out" 2>"$folder/log"
	status=$?
	[ $status -eq 2 ] || fail "$*: exit status $status, not 2"
	[ ! -s "$folder/out" ] || fail "$*: something on standard output"
	grep -qF -e "$words" "$folder/log" || fail "$*: \"$words\" is not in what it said"
	[ "$(grep -c . "$folder/log")" -le 2 ] || fail "$*: more than a sentence"
	[ ! -e "$folder/socket" ] || fail "$*: a socket was left"
}
refused "no-such-option" --no-such-option
refused "requires an argument" --size
refused "no option" word
refused "--size x: not a size" --size x
refused "--size -1: not a size" --size -1
refused "--size 1.5: not a size" --size 1.5
refused "multiple of --min-block, which is 64" --size 100
refused "at least one block" --size 0
refused "the largest with this --min-block is" --size 16383P
refused "the largest with this --min-block is" --size 8000P --min-block 16
refused "--size 99999999999999999999: not a size" --size 99999999999999999999
refused "power of two, at least 16" --min-block 8
refused "power of two, at least 16" --min-block 48
refused "power of two, at least 16" --min-block 0
refused "multiple of --min-block, which is 2M" --min-block 2M --size 1M
refused "--pool ..: a name has 1 to 63" --pool ..
refused "a name has 1 to 63" --pool a/b
refused "a name has 1 to 63" --pool ""
refused "a name has 1 to 63" --pool "$(printf '%064d' 0)"
refused "the path is empty" --socket ""
refused "--max-blocks 0" --max-blocks 0
refused "--max-blocks 3G" --max-blocks 3G
refused "--max-names x" --max-names x
refused "--max-sessions 2M" --max-sessions 2M
refused "error, warning, info or debug" --log-level loud

"$daemon_program" --help >"$folder/out" 2>"$folder/log" || fail "--help: exit status $?"
[ ! -s "$folder/log" ] || fail "--help: something on standard error"
for option in socket pool size max-size min-block max-blocks max-names max-sessions ephemeral overcommit log-level; do
	grep -q -e "--$option" "$folder/out" || fail "--help says nothing of --$option"
done
"$daemon_program" --version | grep -Eqx 'shmbuddyd [0-9]+\.[0-9]+\.[0-9]+' || fail "--version"

client() {
	"$build/client/cli/shmbuddy" --socket "$folder/socket" "$@"
}

# start ARGUMENTS…: 0 once it serves, 1 if it ended.
ends=--ephemeral # or empty: the pool lasts
start() {
	: >"$folder/log"
	"$daemon_program" --socket "$folder/socket" --pool "$pool" ${ends:+"$ends"} "$@" 2>"$folder/log" &
	daemon=$!
	while ! grep -q ' ready: ' "$folder/log"; do
		kill -0 "$daemon" 2>/dev/null || return 1
		sleep 0.01
	done
}
stop() {
	kill "$daemon"
	wait "$daemon"
	local status=$?
	daemon=
	[ $status -eq 0 ] || fail "exit status $status after SIGTERM"
}

start --size 1K --min-block 16 || fail "a pool of 1,024 bytes is legal"
client alloc 512 --name half >/dev/null || fail "512 of 1,024"
client alloc 16 --name unit >/dev/null || fail "16 of 1,024"
client alloc 512 --name other >/dev/null 2>"$folder/refusal" && fail "512 of 496"
grep -q 'longest free run is 256' "$folder/refusal" || fail "$(cat "$folder/refusal")"
client free --name half >/dev/null || fail "free"
client alloc 512 --name other >/dev/null || fail "512 of 1,024 again"
stop
start --size 16 --min-block 16 || fail "a pool of 16 bytes is legal"
client alloc 1 --name all >/dev/null || fail "1 of 16"
client alloc 1 --name more >/dev/null 2>&1 && fail "1 of 0"
stop

# A pool that lasts keeps its size where none is given, and grows where a larger one is.
ends=
start --size 1M || fail "a pool that lasts"
client alloc 1000 --name kept >/dev/null || fail "1000 of 1M"
stop
for size in "" 8M ""; do
	start ${size:+--size "$size"} || fail "again, with size \"$size\""
	grep -q " ready: pool $pool, ${grown:=1M} in units" "$folder/log" || grown=$size
	grep -q " ready: pool $pool, $grown in units" "$folder/log" || fail "not $grown"
	client names | grep -q kept || fail "the name is gone"
	stop
done
start --size 8192064 && fail "grows to a size that is smaller"
wait "$daemon"
[ $? -eq 3 ] || fail "exit status $?, not 3"
daemon=
ends=--ephemeral
start --discard || fail "discard"
stop

# with_descriptors LIMIT COMMAND…: becomes COMMAND, which may have LIMIT descriptors, and has three: what ctest, or whoever
# started this script, left open does not count.
with_descriptors() {
	local descriptor
	for descriptor in /proc/self/fd/*; do
		descriptor=${descriptor##*/}
		[ "$descriptor" -le 2 ] || exec {descriptor}>&-
	done
	exec prlimit --nofile="$1" "${@:2}"
}

# Few descriptors: whatever the number, it serves and ends as it should, or gives up with a line.
served=0 refused=0
for limit in $(seq 4 4 100); do
	: >"$folder/log"
	with_descriptors "$limit" "$daemon_program" --socket "$folder/socket" --pool "$pool" --ephemeral --size 1M \
		2>"$folder/log" &
	waiting=$!
	until grep -q ' ready: ' "$folder/log" || ! kill -0 "$waiting" 2>/dev/null; do sleep 0.01; done
	if grep -q ' ready: ' "$folder/log"; then
		client ping >/dev/null || fail "with $limit descriptors it is ready and does not answer"
		kill "$waiting"
	fi
	wait "$waiting"
	status=$?
	case $status in
	0) served=$((served + 1)) ;;
	1)
		refused=$((refused + 1))
		grep -q ' error ' "$folder/log" || fail "with $limit descriptors it gave up without a word"
		;;
	*) fail "with $limit descriptors: exit status $status" ;;
	esac
	[ ! -e "$folder/socket" ] || fail "with $limit descriptors: a socket was left"
	find /dev/shm -name "shmbuddy.$pool" -o -name "shmbuddy.$pool.*" | grep . && fail "with $limit descriptors: shared memory was left"
done
echo "with 4 to 100 descriptors: $served served, $refused gave up"
[ $served -gt 0 ] || fail "it never served"
[ $refused -gt 0 ] || fail "it never gave up: the test tests nothing"
