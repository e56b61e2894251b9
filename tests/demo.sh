#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/demo.sh: shmbuddy at work, on a daemon of its own that nobody else sees. Builds first. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/support/build_lock.sh
. tests/support/packages.sh

# $1: the build folder; run.sh hands in one that is built already.
build=${1:-build/demo}
jobs=$(nproc)
daemon=
holder=
folder=
pool=demo-$$
objects=("/dev/shm/shmbuddy.$pool" "/dev/shm/shmbuddy.$pool.view" "/dev/shm/shmbuddy.$pool.state")

clean_up() {
	trap '' INT TERM
	[ -z "$holder" ] || kill -9 "$holder" 2>/dev/null || true
	[ -z "$daemon" ] || { kill "$daemon" 2>/dev/null && wait "$daemon" 2>/dev/null; } || true
	rm -f "${objects[@]}"
	[ -z "$folder" ] || rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

bold='' plain=''
[ ! -t 1 ] || bold=$'\033[1m' plain=$'\033[0m'
say() {
	printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}
# show COMMAND…: what a user would type, then what comes of it; the first part is not in the way of a pipe.
exec 3>&1
show() {
	printf '$ %s\n' "$(basename "$1") ${*:2}" >&3
	"$@"
}
fail() {
	printf 'demo.sh: %s\n' "$*" >&2
	[ ! -s "$folder/log" ] || sed 's/^/    daemon: /' "$folder/log" >&2
	exit 1
}

# start_daemon ARGUMENTS…: returns when it answers.
start_daemon() {
	"$shmbuddyd" --socket "$SHMBUDDY_SOCKET" --pool "$pool" --ephemeral "$@" 2>"$folder/log" 9<&- &
	daemon=$!
	for _ in $(seq 1000); do
		! "$shmbuddy" ping >/dev/null 2>&1 || return 0
		kill -0 "$daemon" 2>/dev/null || fail "the daemon did not start"
		sleep 0.01
	done
	fail "the daemon does not answer"
}
stop_daemon() {
	kill "$daemon"
	wait "$daemon" || fail "the daemon did not end well"
	daemon=
}
# Bytes of the pool in use, from status's JSON.
used() {
	"$shmbuddy" status --json --bytes | tr ',{}' '\n' | sed -n 's/^ *"used": *"\{0,1\}\([0-9]*\).*/\1/p' | awk 'NR == 1'
}

say "Building"
# shellcheck disable=SC2086
packages_need $packages_build
if [ $# = 0 ]; then
	build_lock "$build"
	{ cmake -S . -B "$build" -DSHMB_TESTS=ON && cmake --build "$build" -j "$jobs"; } >build/demo.log 2>&1 ||
		{ tail -40 build/demo.log; fail "the build failed; all of it is in build/demo.log"; }
fi
shmbuddyd=$build/server/shmbuddyd
shmbuddy=$build/client/cli/shmbuddy
examples=$build/client/examples
echo "shmbuddyd is the daemon, shmbuddy the command line; both are in $build."

folder=$(mktemp -d)
export SHMBUDDY_SOCKET=$folder/socket

say "1. malloc and free in a pool of 1024 bytes"
start_daemon --size 1K --min-block 16
show "$examples/malloc_demo" | tee "$folder/malloc_demo"
printf '%s\n' 'Block1 allocated' 'Block2 allocated' 'Block1 freed' 'Out of memory' | cmp -s - "$folder/malloc_demo" ||
	fail "malloc_demo printed something else than it should"
stop_daemon

say "2. A real file through shared memory"
file=$(find /usr/lib /usr/bin /lib -xdev -type f -readable -size +10M -size -60M 2>/dev/null | sort | awk 'NR == 1' || true)
if [ -z "$file" ]; then
	file=$folder/input
	find /usr/lib /usr/bin -xdev -type f -readable -size +64k 2>/dev/null | sort | head -400 | xargs cat | head -c 16M >"$file" || true
fi
size=$(stat -Lc %s "$file")
[ "$size" -ge 10000000 ] || fail "found no 10 MB of real data on this machine"
hash=$(sha256sum <"$file")
echo "$file: $size bytes, SHA-256 ${hash%% *}"
start_daemon --size 256M
show "$shmbuddy" status
show "$shmbuddy" map

say "One process fills a buffer from the file; another, which knows only its name, checks it in place"
show "$examples/producer" demo/buffer "$file" | tee "$folder/produced"
show "$examples/consumer" demo/buffer | tee "$folder/consumed"
cmp -s "$folder/produced" "$folder/consumed" || fail "producer and consumer saw different bytes"

say "The same by hand: the file into a block, and back out"
show "$shmbuddy" put "$file" --name demo/file
show "$shmbuddy" get demo/file "$folder/copy"
[ "$(sha256sum <"$folder/copy")" = "$hash" ] || fail "what came back is not what went in"
echo "the copy has the same SHA-256"
show "$shmbuddy" ls
show "$shmbuddy" names
show "$shmbuddy" status
show "$shmbuddy" map

say "3. A client that holds half of the pool is killed with -9"
before=$(used)
"$build/tests/support/hold" 128M >"$folder/hold" 9<&- &
holder=$!
for _ in $(seq 1000); do
	[ ! -s "$folder/hold" ] || break
	kill -0 "$holder" 2>/dev/null || fail "the client could not get its memory"
	sleep 0.01
done
cat "$folder/hold"
show "$shmbuddy" clients
show "$shmbuddy" map
during=$(used)
[ "$during" -ge $((before + 128 * 1024 * 1024)) ] || fail "128 MiB more should be in use: $before before, $during now"
echo "\$ kill -9 $holder"
kill -9 "$holder"
wait "$holder" 2>/dev/null || true
holder=
for _ in $(seq 1000); do
	after=$(used)
	[ "$after" != "$before" ] || break
	sleep 0.01
done
[ "$after" = "$before" ] || fail "$after bytes are in use, $before were before the client came"
show "$shmbuddy" map
echo "in use: $before bytes before, $during while it lived, $after after its death"

say "4. The end"
show "$examples/consumer" demo/buffer --free
show "$shmbuddy" free --name demo/file
[ "$(used)" = 0 ] || fail "$(used) bytes are in use, but everything was freed"
show "$shmbuddy" status
stop_daemon
left=$(find "${objects[@]}" 2>/dev/null || true)
[ -z "$left" ] || fail "left behind: $left"
printf '\nShown: malloc and free in 1024 bytes, %s real bytes shared by two programs and unchanged, 128 MiB back after kill -9, nothing left behind.\n' "$size"
