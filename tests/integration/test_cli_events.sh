#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# shmbuddy events as its users meet it: what it prints for each kind, what it leaves out, how it ends, and over a restart of the daemon.
set -u
build=${SHMB_BUILD_DIR:?the build folder}
shmbuddy=$build/client/cli/shmbuddy
shmbuddyd=$build/server/shmbuddyd
folder=$(mktemp -d /tmp/shmbuddy-events-XXXXXX)
pool=events-$$
daemon=
follower=
failures=0
me=$(id -un)
export SHMBUDDY_SOCKET=$folder/socket
export LC_ALL=C.UTF-8

clean_up() {
	[ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null
	[ -z "$follower" ] || kill -9 "$follower" 2>/dev/null
	wait
	rm -rf "$folder" /dev/shm/shmbuddy."$pool" /dev/shm/shmbuddy."$pool".*
}
trap clean_up EXIT
trap 'exit 1' INT TERM

wrong() {
	failures=$((failures + 1))
	echo "FAILED: $*"
	sed 's/^/    out: /' "$folder/out" | tail -20
	sed 's/^/    err: /' "$folder/err" | tail -20
}

# A net under what never comes: waits until the command succeeds.
until_true() {
	for _ in $(seq 2000); do
		! "$@" >/dev/null 2>&1 || return 0
		sleep 0.01
	done
	wrong "never: $*"
	exit 1
}

start_daemon() {
	"$shmbuddyd" --socket "$SHMBUDDY_SOCKET" --pool "$pool" --size "$1" --pressure 50,90 2>>"$folder/log" &
	daemon=$!
	until_true "$shmbuddy" ping
}

# follow ARGUMENTS…: in the background, and sees what happens when this returns. SIGINT is not ignored, as it would be behind a shell.
follow() {
	env --default-signal=INT "$shmbuddy" events "$@" >"$folder/out" 2>"$folder/err" &
	follower=$!
	until_true follows
}
# Something that any selection of the tests below takes, until it shows.
follows() {
	"$shmbuddy" alloc 64 --name ready/sign && "$shmbuddy" free --name ready/sign
	[ -s "$folder/out" ]
}
# ends STATUS: the follower does, with that.
ends() {
	local status
	wait "$follower"
	status=$?
	follower=
	[ "$status" = "$1" ] || wrong "it ended with $status, not $1"
}
# prints PATTERN: a line of it is to match, whole.
prints() { until_true grep -qxE "$1" "$folder/out"; }
printed() { grep -qE "$1" "$folder/out"; }
# refuses PATTERN STATUS ARGUMENTS…
refuses() {
	local pattern=$1 status=$2
	shift 2
	"$shmbuddy" events "$@" >"$folder/out" 2>"$folder/err"
	[ $? = "$status" ] || wrong "events $*: not status $status"
	grep -q -- "$pattern" "$folder/err" || wrong "events $*: does not say $pattern"
}

time='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}'
start_daemon 1M

# ---- what it prints

follow
head -c 600000 /dev/zero >"$folder/large"
block=$("$shmbuddy" put "$folder/large" --name "two words")
prints "$time opened - - $me/[0-9]+ shmbuddy"
prints "$time published $block 585.9K $me/[0-9]+ two words"
prints "$time pressure - 1M -/[0-9]+ high"
"$shmbuddy" free --name "two words"
prints "$time removed $block 585.9K $me/[0-9]+ two words"
prints "$time freed $block 1M $me/[0-9]+ -"
prints "$time pressure - 0 -/[0-9]+ none"
prints "$time ended - 1M $me/[0-9]+ shmbuddy"
kill -INT "$follower"
ends 0
[ ! -s "$folder/err" ] || wrong "it complains"

# ---- what it leaves out

follow --kind published --kind removed --prefix ready/
"$shmbuddy" alloc 64 --name other >/dev/null
"$shmbuddy" alloc 64 --name ready/last >/dev/null
prints "$time published [0-9]+ 64 $me/[0-9]+ ready/last"
! printed "other|freed|opened" || wrong "it prints what was not asked for"
kill -INT "$follower"
ends 0
"$shmbuddy" free --name other
"$shmbuddy" free --name ready/last

# ---- JSON, a line an object, and --count

follow --json --count 3 --kind published --bytes
for _ in 1 2 3; do
	"$shmbuddy" alloc 64 --name 'quo"ted' >/dev/null
	"$shmbuddy" free --name 'quo"ted'
done
ends 0
[ "$(wc -l <"$folder/out")" = 3 ] || wrong "--count 3 are not 3 lines"
if command -v python3 >/dev/null; then
	python3 - "$folder/out" <<-'END' || wrong "that is not the JSON it should be"
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		assert lines[0]["name"] == "ready/sign" and lines[2]["name"] == 'quo"ted', lines
		for line in lines:
		    assert line["kind"] == "published" and line["bytes"] == 64 and line["block"] > 0 and line["time_ns"] > 10**18
		    assert line["session"] > 0 and line["lost"] is None and line["pressure"] is None
	END
fi

# ---- nobody reads it any more

follow_to_head() { "$shmbuddy" events --kind published | head -n 1 >"$folder/out"; echo "${PIPESTATUS[0]}" >"$folder/status"; }
: >"$folder/out"
follow_to_head 2>"$folder/err" &
follower=$!
ended() { "$shmbuddy" alloc 64 --name ready/sign && "$shmbuddy" free --name ready/sign; [ -s "$folder/status" ]; }
until_true ended
ends 0
[ "$(cat "$folder/status")" = 0 ] || wrong "a closed pipe is status $(cat "$folder/status")"

# ---- another daemon

follow --kind published
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
start_daemon 8M
until_true grep -q "the daemon was lost for a while, and with it an unknown number of events" "$folder/err"
"$shmbuddy" alloc 64 --name after >/dev/null
prints "$time published [0-9]+ 64 $me/[0-9]+ after"
prints "$time lost - - - -"
kill -INT "$follower"
ends 0

no_blocks() { [ "$("$shmbuddy" ls --no-headings | wc -l)" = 1 ]; } # but the one named "after"

# ---- a reader that is stopped loses, and is told

follow --kind freed --kind published
kill -STOP "$follower"
"$build/tests/support/hold" 64 many >"$folder/hold" &
holder=$!
until_true test -s "$folder/hold"
kill -9 "$holder"
wait "$holder" 2>/dev/null
until_true no_blocks
kill -CONT "$follower"
until_true grep -qE "[1-9][0-9]* events were lost here" "$folder/err"
kill -INT "$follower"
ends 0

# ---- a program that gives its cache back when others need memory

"$build/client/examples/drop_caches" 4 1048576 >"$folder/out" 2>"$folder/err" &
follower=$!
number=0
gone() { number=$((number + 1)); "$shmbuddy" alloc 1M --name "large $number"; ! kill -0 "$follower"; }
until_true gone
ends 0
prints "[0-9]+ bytes are used: 0 blocks are left in the cache"

# ---- what is refused

refuses "no kind of events 'nonsense'" 2 --kind nonsense
refuses "no kind of events 'lost'" 2 --kind lost
refuses "is not a number from 1 on" 2 --count 0
refuses "is not a number from 1 on" 2 --count many
refuses "a prefix is the beginning of a name" 2 --prefix "$(printf 'p%.0s' $(seq 256))"
refuses "takes no operands" 2 here
refuses "needs the daemon" 2 --offline
kill "$daemon"
wait "$daemon"
daemon=
refuses "cannot connect" 3

[ "$failures" = 0 ] && echo "all as it should be" || exit 1
