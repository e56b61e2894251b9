#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The command line with --offline: beside a daemon that serves, is stopped, is killed; where there is no pool, no right to read
# it, or no pool at all in what is there; and the verbs that cannot do without a daemon.
set -u
build=${SHMB_BUILD_DIR:?the build folder}
shmbuddy=$build/client/cli/shmbuddy
shmbuddyd=$build/server/shmbuddyd
folder=$(mktemp -d /tmp/shmbuddy-offline-XXXXXX)
pool=offline-$$
daemon=
failures=0
export SHMBUDDY_SOCKET=$folder/socket
export LC_ALL=C.UTF-8
unset COLUMNS LINES

clean_up() {
	[ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null
	wait 2>/dev/null
	rm -rf "$folder" /dev/shm/shmbuddy."$pool" /dev/shm/shmbuddy."$pool".* /dev/shm/shmbuddy."$pool"-half.view
}
trap clean_up EXIT
trap 'exit 1' INT TERM

# wrong WHAT…: notes a failure; the others are looked at as well.
wrong() {
	failures=$((failures + 1))
	echo "FAILED: $*"
	sed 's/^/    out: /' "$folder/out" | head -20
	sed 's/^/    err: /' "$folder/err" | head -20
}

start_daemon() {
	"$shmbuddyd" --socket "$SHMBUDDY_SOCKET" --pool "$pool" --size 16M 2>>"$folder/log" &
	daemon=$!
	for _ in $(seq 1000); do
		! "$shmbuddy" ping >/dev/null 2>&1 || return 0
		kill -0 "$daemon" 2>/dev/null || break
		sleep 0.01
	done
	echo "the daemon does not answer"
	cat "$folder/log"
	exit 1
}

# good ARGUMENTS…: exit status 0, and nothing on standard error.
good() {
	"$shmbuddy" "$@" >"$folder/out" 2>"$folder/err" </dev/null
	[ "$?" = 0 ] && [ ! -s "$folder/err" ] || wrong "not good: $*"
}

# bad STATUS PATTERN ARGUMENTS…: that exit status, nothing on standard output, and a message that matches.
bad() {
	local expected=$1 pattern=$2 status
	shift 2
	"$shmbuddy" "$@" >"$folder/out" 2>"$folder/err" </dev/null
	status=$?
	[ "$status" = "$expected" ] || wrong "exit status $status, not $expected, of: $*"
	[ ! -s "$folder/out" ] || wrong "something on standard output of: $*"
	head -1 "$folder/err" | grep -qE "^shmbuddy: $pattern" || wrong "the message of: $* is not /$pattern/"
}

# says PATTERN: the last output does.
says() {
	grep -qE -- "$1" "$folder/out" || wrong "the output is not /$1/"
}

# same VERB ARGUMENTS…: with --offline it prints what it printed when the daemon answered; ages left out.
remember() {
	"$shmbuddy" "$@" >"$folder/online-$1"
}
same() {
	good --offline --pool "$pool" "$@"
	diff "$folder/online-$1" "$folder/out" >"$folder/err" || wrong "$* differs offline"
}
everything() {
	same ls -o id,offset,size,granted,owner,uid,tag,name,names
	same names -o name,block,offset,size,uid
	same map --ascii
	good ls --offline --pool "$pool" --json
	! command -v python3 >/dev/null || python3 -m json.tool <"$folder/out" >/dev/null || wrong "no JSON: ls --offline --json"
	good show "$id" --offline --pool "$pool"
	says '^name +hand/made'
	says '^metadata    73 68 61 70 65 .* shape$'
	says 'not known without the daemon'
	! grep -q '^held by' "$folder/out" || wrong "show --offline invents holders"
	good show "$id" --json --offline --pool "$pool"
	says '"holders": null'
	bad 1 'show: block 999999: ' --offline --pool "$pool" show 999999
}

echo "== no pool"
bad 3 "status: cannot read the pool: there is no pool $pool: /dev/shm/shmbuddy.$pool.view does not exist" --offline --pool "$pool" status
grep -q -- '--pool NAME' "$folder/err" || wrong "a missing pool has no remedy"
: >/dev/shm/shmbuddy."$pool"-half.view
bad 3 'ls: cannot read the pool: .* is not complete' --offline --pool "$pool"-half ls
head -c 100K /dev/urandom >/dev/shm/shmbuddy."$pool"-half.view
bad 1 'ls: cannot read the pool: .* is damaged' --offline --pool "$pool"-half ls
rm /dev/shm/shmbuddy."$pool"-half.view
bad 2 'names: cannot read the pool: ' --offline --pool no/pool names

echo "== verbs that need the daemon"
for verb in ping clients users alloc free name put get gc end; do
	bad 2 "$verb: --offline reads what lies in shared memory" --offline "$verb"
	bad 2 "$verb: --offline reads what lies in shared memory" "$verb" --offline
done
bad 2 'there is no verb' --offline frobnicate
bad 2 'no verb' --offline
bad 2 'ls: it takes no operands' --offline ls operand
bad 2 'show: say which block' show --offline
good --offline help
says '--offline'
for verb in status ls show names map; do
	good "$verb" --help
	says '--offline'
done
good clients --help
! grep -q -- --offline "$folder/out" || wrong "clients offers --offline"

start_daemon
good alloc 100K --name hand/made --tag made --meta shape
id=$(cat "$folder/out")
good alloc 3000 --name other
remember ls -o id,offset,size,granted,owner,uid,tag,name,names
remember names -o name,block,offset,size,uid
remember map --ascii

# status_line PATTERN RUNNING: status says that of the daemon, and the rest is as it must be.
status_line() {
	good --offline --pool "$pool" status
	head -1 "$folder/out" | grep -qE "$1" || wrong "the first line of status is not /$1/"
	says '^used +132K'
	says '^blocks +2 '
	says '^clients +0 '
	good --offline --pool "$pool" status --json
	says "\"daemon_running\": $2"
	good --offline --pool "$pool" --bytes status
	says '^used +135168'
}
echo "== beside a daemon"
everything
status_line ", served by process $daemon$" true
bad 3 'status: cannot read the pool: .* there are: ' --offline --pool "$pool-none" status
grep -q "$pool" "$folder/err" || grep -q '…' "$folder/err" || wrong "the pools that are there are not named"
SHMBUDDY_SOCKET=/nonexistent/socket good ls --offline --pool "$pool"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	cp "$shmbuddy" "$folder/shmbuddy"
	cp "$build"/client/libshmbuddy.so.* "$folder"
	chmod 755 "$folder" "$folder"/shmbuddy "$folder"/lib*
	LD_LIBRARY_PATH=$folder setpriv --reuid 65534 --regid 65534 --clear-groups "$folder/shmbuddy" --offline --pool "$pool" ls \
		>"$folder/out" 2>"$folder/err"
	[ $? = 1 ] || wrong "another user may read it"
	grep -q 'belongs to uid 0' "$folder/err" || wrong "another user is not told whose it is"
fi

echo "== it is stopped"
kill -STOP "$daemon"
everything
status_line ", served by process $daemon$" true
kill -CONT "$daemon"

echo "== it is killed"
kill -9 "$daemon"
wait "$daemon" 2>/dev/null
everything
status_line ", last served by process $daemon, which has ended$" false
bad 3 'ls: cannot connect: ' ls
grep -q '^  try: --offline' "$folder/err" || wrong "a dead daemon has no remedy"
bad 3 'ping: cannot connect: ' ping
! grep -q -- --offline "$folder/err" || wrong "ping offers --offline"

echo "== it ends"
start_daemon
kill "$daemon"
wait "$daemon"
everything
status_line ", last served by process $daemon, which has ended$" false
daemon=

[ "$failures" = 0 ] || { echo "$failures failures; the daemon's log:"; tail -30 "$folder/log"; exit 1; }
echo "all as it should be"
