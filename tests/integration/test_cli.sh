#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The command line as its users meet it: every verb with good and bad input, exit statuses, messages, JSON, files in and out,
# and what is left when something breaks in the middle.
set -u
build=${SHMB_BUILD_DIR:?the build folder}
shmbuddy=$build/client/cli/shmbuddy
shmbuddyd=$build/server/shmbuddyd
folder=$(mktemp -d /tmp/shmbuddy-cli-XXXXXX)
pool=cli-$$
daemon=
holder=
hung=
failures=0
lasts=--ephemeral
export SHMBUDDY_SOCKET=$folder/socket
export LC_ALL=C.UTF-8
unset COLUMNS LINES

clean_up() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null
	[ -z "$holder" ] || kill -9 "$holder" 2>/dev/null
	[ -z "$hung" ] || kill -9 "$hung" 2>/dev/null
	wait
	rm -rf "$folder" /dev/shm/shmbuddy."$pool"{,-hung}{,.*}
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
	"$shmbuddyd" --socket "$SHMBUDDY_SOCKET" --pool "$pool" $lasts "$@" 2>>"$folder/log" 5>&- &
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
stop_daemon() {
	kill "$daemon"
	wait "$daemon" || { : >"$folder/out"; : >"$folder/err"; wrong "the daemon ended with $?"; }
	daemon=
}

# start_holder ARGUMENTS…: a client, see tests/support/hold.c, as $holder; it has its block. Its session is number $session.
start_holder() {
	: >"$folder/hold"
	"$build/tests/support/hold" "$@" >"$folder/hold" 2>"$folder/hold.err" 5>&- &
	holder=$!
	for _ in $(seq 1000); do
		[ ! -s "$folder/hold" ] || break
		sleep 0.01
	done
	session=$(session_of "$holder")
	[ -n "$session" ] || { echo "no client: $(cat "$folder/hold.err")"; exit 1; }
}
session_of() { "$shmbuddy" clients --no-headings -o pid,session | awk -v "pid=$1" '$1 == pid { print $2 }'; }
# holder_ends STATUS: the client does, with that. One that does not, is killed.
holder_ends() {
	for _ in $(seq 1000); do
		kill -0 "$holder" 2>/dev/null || break
		sleep 0.01
	done
	! kill -9 "$holder" 2>/dev/null || wrong "the client goes on"
	wait "$holder" 2>/dev/null
	status=$?
	holder=
	[ "$status" = "$1" ] || wrong "the client ends with $status, not $1: $(cat "$folder/hold.err")"
}
# helps PATTERN: the last message says that.
helps() {
	grep -qE -- "$1" "$folder/err" || wrong "the message is not /$1/"
}

# run ARGUMENTS…: output in $folder/out and err, exit status in $status.
run() {
	"$shmbuddy" "$@" >"$folder/out" 2>"$folder/err" </dev/null
	status=$?
}

# good ARGUMENTS…: exit status 0, and nothing on standard error.
good() {
	run "$@"
	[ "$status" = 0 ] && [ ! -s "$folder/err" ] || wrong "exit status $status of: $*"
}

# bad STATUS PATTERN ARGUMENTS…: that exit status, nothing on standard output, and a message `shmbuddy: …` that matches.
bad() {
	local expected=$1 pattern=$2
	shift 2
	run "$@"
	[ "$status" = "$expected" ] || wrong "exit status $status, not $expected, of: $*"
	[ ! -s "$folder/out" ] || wrong "something on standard output of: $*"
	head -1 "$folder/err" | grep -qE "^shmbuddy: $pattern" || wrong "the message of: $* is not /$pattern/"
	[ -z "$(tail -n +2 "$folder/err" | grep -v '^  ')" ] || wrong "more than one message of: $*"
}

# says PATTERN: the last output does.
says() {
	grep -qE -- "$1" "$folder/out" || wrong "the output is not /$1/"
}

have_python() {
	command -v python3 >/dev/null
}
json() {
	run "$@" --json
	[ "$status" = 0 ] || wrong "exit status $status of: $* --json"
	! have_python || python3 -m json.tool <"$folder/out" >/dev/null 2>"$folder/err" || wrong "no JSON: $* --json"
}
# field NAME ARGUMENTS…: a number of the JSON of a verb.
field() {
	local name=$1
	shift
	"$shmbuddy" "$@" --json | tr ',{}' '\n' | sed -n "s/^ *\"$name\": *\"\{0,1\}\([0-9]*\).*/\1/p" | head -1
}
used() { field used status; }
blocks() { field blocks status; }
empty_pool() {
	: >"$folder/out"
	: >"$folder/err"
	[ "$(used)" = 0 ] || wrong "$1: $(used) bytes are in use"
	[ "$(field names status)" = 0 ] || wrong "$1: $(field names status) names are left"
}
hash() { sha256sum "$1" | cut -d ' ' -f 1; }

echo "== without a daemon"
for verb in status ping ls names clients users map; do
	bad 3 "$verb: .*: " "$verb"
done
bad 3 'show: ' show 1
bad 3 'free: ' free 1
bad 3 'free: ' free --name x
bad 3 'end: ' end 1
bad 3 'alloc: ' alloc 64 --name x
bad 3 'get: ' get x
bad 3 'put: ' put /etc/passwd --name x
bad 3 'ping: ' --socket "$folder/none" ping
: >"$folder/file"
bad 3 'ping: ' --socket "$folder/file" ping
bad 2 'ping: ' --socket "/$(printf 'x%.0s' $(seq 200))" ping
python_server='import socket,sys
s=socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1); print("up",flush=True)
c,_=s.accept(); c.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"); c.recv(4096)'
if have_python; then
	coproc python3 -c "$python_server" "$folder/http"
	read -r _ <&"${COPROC[0]}"
	bad 3 'ping: .*not shmbuddyd' --socket "$folder/http" ping
	wait
fi

# A daemon that is there and does not answer: the verdict takes half a minute, and is looked at in the end.
SHMBUDDY_SOCKET=$folder/hung
pool=$pool-hung
start_daemon --size 1M
SHMBUDDY_SOCKET=$folder/socket
pool=cli-$$
hung=$daemon
kill -STOP "$hung"
"$shmbuddy" --socket "$folder/hung" ls >"$folder/hung.out" 2>"$folder/hung.err" &
asker=$!
have_python && python3 -c 'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))' \
	"$shmbuddy" --socket "$folder/hung" ping >"$folder/terminal" 2>/dev/null </dev/null &
watcher=$!

start_daemon --size 64M

echo "== usage"
bad 2 ''
bad 2 "there is no verb 'frobnicate'" frobnicate
bad 2 'there is no option --frobnicate' --frobnicate
bad 2 "names: there is no option --frobnicate" names --frobnicate
for verb in status ping ls clients users map; do
	bad 2 "$verb: it takes no operands" "$verb" operand
	bad 2 "$verb: there is no option --frobnicate" "$verb" --frobnicate
	bad 2 "$verb: there is no option -Q" "$verb" -Q
done
for verb in status ping ls show names clients users map alloc free name put get gc end; do
	good "$verb" --help
	says "^usage: shmbuddy "
	says "$verb"
	good help "$verb"
done
good --help
good --version
says '^shmbuddy [0-9]+\.[0-9]+\.[0-9]+$'
bad 2 'ls: ' ls --sort frobnicate
bad 2 'ls: ' ls -o id,frobnicate
bad 2 'show: say which block' show
bad 2 "show: 'x' is no block" show x
bad 2 "show: '-1' is no block|show: there is no option" show -1
bad 2 "show: " show 99999999999999999999
bad 2 'free: say what' free
bad 2 'free: say what' free 1 2
bad 2 'free: say what' free 1 --name x
bad 2 "free: '0x1' is no block" free 0x1
bad 2 'alloc: it needs --name' alloc 64
bad 2 'alloc: say how much' alloc --name x
for size in 0 -5 1.2.3 64Q '' ' ' 99999999999999999999 nan 1e3; do
	bad 2 "alloc: " alloc --name x -- "$size"
done
bad 2 'alloc: the alignment must be a power of two' alloc 64 --name x --align 3
bad 2 'alloc: the alignment must be a power of two' alloc 64 --name x --align 2G
bad 2 'alloc: ' alloc 64 --name x --tag 'sixteen bytes it'
bad 2 'alloc: ' alloc 64 --name ''
bad 2 'alloc: ' alloc 64 --name '//host/x'
bad 2 'alloc: ' alloc 64 --name $'line\nfeed'
bad 2 'alloc: ' alloc 64 --name $'\xff\xfe'
bad 2 'alloc: ' alloc 64 --name "$(printf 'n%.0s' $(seq 256))"
bad 2 'put: say which file' put --name x
bad 2 'put: it needs --name' put /etc/passwd
bad 2 'put: --cache seals the block' put /etc/passwd --name passwd --cache --seal
bad 2 'put: ' put /etc/passwd --name '//x'
bad 2 'get: say which name' get
bad 2 'get: say which name' get a b c
bad 2 'get: ' get ''
bad 2 'end: say which session' end
bad 2 'end: say which session' end 1 2
for number in 0 x 1x 0x1 '' ' ' 4294967296 99999999999999999999; do
	bad 2 "end: '$number' is no session" end "$number"
done
for span in 2 -1s 1.5s '' s; do
	bad 2 "end: the time to wait '$span' is not a time" end 1 --wait "$span"
done
for span in 18446744073709551615h 1001h; do
	bad 2 "end: the time to wait '$span' is too long: allowed is 0, or from 1ms to 1000h" end 1 --wait $span
done
bad 2 "end: the time to wait '5' is not a time: say a number and its unit, .*; allowed is 0, or from 1ms to 1000h" end 1 --wait 5
bad 1 'ping: cannot connect: .*serves the pool' --pool nowhere ping
bad 2 'ping: ' --pool 'no/pool' ping
empty_pool "after wrong usage"

echo "== verbs"
good ping
says "^pool $pool: process $daemon answers in [0-9]+ us$"
good alloc 100K --name hand/made --tag made
id=$(cat "$folder/out")
good ls
says "$id"
good ls --bytes --no-headings -o id,size,tag
says "^ *$id +102400 +made *$"
good ls --sort size:desc
good show "$id"
says '^name +hand/made'
says '^It lives because of what holds it: 1 name'
good show "$id" --bytes
says '^size +102400 '
cp "$folder/out" "$folder/shown"
good show --name hand/made --bytes
diff <(sed 's/ [0-9]*s ago//' "$folder/shown") <(sed 's/ [0-9]*s ago//' "$folder/out") >/dev/null || wrong "by its name a block shows otherwise"
json show --name hand/made
says "\"id\": $id\b"
bad 1 "show: name 'nobody': nothing is published under this name" show --name nobody
helps 'shmbuddy names. lists'
bad 2 'show: say which block' show --name hand/made "$id"
good names
says 'hand/made'
good clients
says 'shmbuddy'
good users --no-headings --bytes -o uid,bytes,max-bytes,blocks,names,sessions
says "^ *$(id -u) 131072 +1 +1 +1"
good status
says '^used +128K'
good --bytes status
says '^used +131072'
good map
says '^pool '
good map --ascii
says '#'
! grep -q '^metadata\|^sealed' "$folder/out" || wrong "show invents metadata, or a seal"

# Metadata: a text, the contents of a file, too much of either; printed as bytes and as text, and safe on a terminal.
good alloc 64 --name meta/text --meta 'float32 [3, 5]'
good show "$(cat "$folder/out")"
says '^metadata    66 6c 6f 61 74 33 32 20 5b 33 2c 20 35 5d        float32 \[3, 5\]$'
printf '\033[2J0123456789abcdef\0' >"$folder/meta"
good put "$folder/meta" --name meta/file --meta "@$folder/meta"
id_of_file=$(cat "$folder/out")
good show "$id_of_file"
says '^metadata    1b 5b 32 4a 30 31 32 33 34 35 36 37 38 39 61 62  \.\[2J0123456789ab$'
says '^            63 64 65 66 00                                   cdef\.$'
good show "$id_of_file" --json
says '"metadata": "1b5b324a3031323334353637383961626364656600"'
says '"sealed": false'
head -c 256 /dev/zero >"$folder/meta"
good put "$folder/meta" --name meta/most --meta "@$folder/meta"
printf x >>"$folder/meta"
bad 2 'put: metadata has at most 256 bytes' put "$folder/meta" --name meta/more --meta "@$folder/meta"
bad 2 'alloc: metadata has at most 256 bytes' alloc 64 --name meta/more --meta "$(printf %0257d 0)"
bad 1 'alloc: opening .*/nothing: ' alloc 64 --name meta/more --meta "@$folder/nothing"
bad 1 'put: reading .*: ' put /etc/passwd --name meta/more --meta "@$folder"
for name in text file most; do good free --name meta/$name; done
bad 1 "alloc: .*hand/made.*: " alloc 64 --name hand/made
bad 1 "put: name 'hand/made': " put /etc/passwd --name hand/made
bad 1 'free: block 999999: ' free 999999
bad 1 "free: name 'nobody': " free --name nobody
bad 1 "get: name 'nobody': " get nobody
bad 1 'show: block 999999: ' show 999999
helps 'shmbuddy ls. lists'
# An id where a name belongs: what there is of it, and how to get at it.
bad 1 "get: name '999999': " get 999999
helps 'get takes a name, not an id, and no live block has the id 999999'
bad 1 "get: name '$id': " get "$id"
helps "get takes a name, not an id: block $id has the name 'hand/made'"
good alloc 1 --ttl 1h
nameless=$(cat "$folder/out")
bad 1 "get: name '$nameless': " get "$nameless"
helps "shmbuddy name $nameless NAME., or .* .shmbuddy share $nameless . shmbuddy get --ticket -"
good show "$nameless"
says '^size +1 .1 byte.$'
good free "$nameless"
bad 1 'alloc: 65M under the name .*: ' alloc 65M --name big
grep -q 'free 63' "$folder/err" || wrong "out of memory does not say what is free"
grep -q 'held by no session' "$folder/err" || wrong "out of memory does not say who holds"
grep -q 'try: ' "$folder/err" || wrong "out of memory has no remedy"
bad 1 'alloc: .*: ' alloc 18000000000000000000 --name big
good free "$id"
[ ! -s "$folder/out" ] || wrong "free prints something"
good alloc 1M --name a/b --align 1M
good free --name a/b
empty_pool "after the verbs"

echo "== waiting"
good alloc 64M --name all
bad 1 "names: waiting for 'later': nothing was published under this name within 20ms" names --wait later --timeout 20ms
bad 1 "get: name 'later': nothing was published under this name within 20ms" get later --wait 20ms
bad 1 "alloc: .* within 20ms: free blocks" alloc 100K --name later --wait 20ms
helps 'held by no session: 64M'
helps 'requested 100K, which would take 128K'
bad 1 "put: .* within 20ms: free blocks" put /etc/passwd --name later --wait 20ms
bad 1 "alloc: .*would not fit an empty pool either" alloc 65M --name later --wait 1h
bad 2 'names: --timeout is for --wait' names --timeout 1s
bad 2 'names: --wait needs the daemon' names --offline --wait later
bad 2 "names: the timeout '1' is not a time" names --wait later --timeout 1
bad 2 "get: the wait '1001h' is too long" get later --wait 1001h
bad 2 "alloc: the wait 'soon' is not a time" alloc 1 --name later --wait soon
bad 2 "put: the wait 'soon' is not a time" put /etc/passwd --name later --wait soon
# Each waits for the one before: for room, and for what is put into it.
"$shmbuddy" put /etc/passwd --name later --wait 1m >"$folder/out" 2>"$folder/err" &
putter=$!
"$shmbuddy" get later "$folder/copied" --wait 1m &
getter=$!
"$shmbuddy" names --wait later --no-headings -o name,size --bytes >"$folder/named" &
waiter=$!
"$shmbuddy" alloc 32M --name half --wait 1m >/dev/null &
allocator=$!
for _ in $(seq 1000); do
	[ "$(field clients status)" -lt 4 ] || break
	sleep 0.01
done
"$shmbuddy" free --name all || wrong "free --name all"
for process in "$putter" "$getter" "$waiter" "$allocator"; do
	wait "$process" || wrong "one that waited ends with $?"
done
cmp -s /etc/passwd "$folder/copied" || wrong "what was waited for is not what was put"
grep -q "^later *$(stat -c %s /etc/passwd)$" "$folder/named" || wrong "names --wait says: $(cat "$folder/named")"
good free --name later
good free --name half
empty_pool "after the waiting"
echo "== tickets"
# ticket ARGUMENTS…: the ticket that share prints, into $folder/ticket.
ticket() {
	good share "$@"
	says '^shmb1-[0-9a-z]{32}$'
	cp "$folder/out" "$folder/ticket"
}
head -c 100000 /dev/urandom >"$folder/bytes"
good put "$folder/bytes" --name bytes
id=$(field id ls)
ticket --name bytes
good show "$id"
says '^tickets +1$'
says '^It lives because of what holds it: 1 name, 1 ticket\. It is freed when nothing does\.$'
good free --name bytes
bad 1 "free: block $id: " free "$id"
bad 1 'get: opening /nonexistent/copy' get --ticket "$folder/ticket" /nonexistent/copy # before the ticket is used
tr a-z A-Z <"$folder/ticket" >"$folder/TICKET"
good get --ticket "$folder/TICKET" "$folder/copy"
cmp -s "$folder/bytes" "$folder/copy" || wrong "the bytes that came by a ticket differ"
bad 1 'get: the ticket: the ticket has been redeemed' get --ticket "$folder/ticket" "$folder/copy"
empty_pool "after a ticket"
good put "$folder/bytes" --name bytes
id=$(field id ls)
"$shmbuddy" share "$id" --ttl 10m --uid "$(id -un)" | "$shmbuddy" get --ticket - >"$folder/copy" || wrong "a ticket from a pipe"
cmp -s "$folder/bytes" "$folder/copy" || wrong "the bytes that came by a pipe differ"
ticket "$id"
good revoke "$folder/ticket"
bad 1 'revoke: the ticket: the ticket has been redeemed' revoke "$folder/ticket"
bad 1 'get: the ticket: the ticket has been redeemed' get --ticket "$folder/ticket"
ticket "$id"
"$shmbuddy" revoke - <"$folder/ticket" || wrong "a ticket is not taken back from standard input"
bad 1 'get: the ticket: the ticket has been redeemed' get --ticket "$folder/ticket"
bad 2 'revoke: say where the ticket is' revoke
bad 2 'revoke: say where the ticket is' revoke one two
bad 2 'revoke: the ticket: that is no ticket' revoke /dev/null
bad 1 'revoke: opening ' revoke "$folder/nowhere"
ticket "$id" --uid 4294967294 --ttl 720h
good status
says '^tickets +1  that can be used$'
bad 1 'get: the ticket: the ticket was made for another user' get --ticket "$folder/ticket"
json share --name bytes --ttl 1s
says '"expires": 1\b'
sed 's/shmb1-./shmb1-/' "$folder/ticket" >"$folder/short"
bad 2 'get: the ticket: a ticket has 38 characters, and this has 37' get --ticket "$folder/short"
sed 's/shmb1-\(.*\)./shmb1-\1u/' "$folder/ticket" >"$folder/mistyped"
bad 2 'get: the ticket: the ticket was mistyped' get --ticket "$folder/mistyped"
bad 2 'get: the ticket: that is no ticket' get --ticket /dev/null
bad 1 'get: opening ' get --ticket "$folder/nowhere"
bad 2 'get: say which name, or --ticket' get --ticket - one two
# A ticket is a secret: where it stands wrongly it is not repeated, and it has not been used.
secret=$(cat "$folder/ticket")
hides() { ! grep -qi "${secret#shmb1-}" "$folder/err" || wrong "the message repeats the ticket"; }
bad 2 'get: a ticket is no argument' get "$secret"; hides
bad 2 'get: a ticket is no argument' get --ticket "$secret"; hides
bad 2 'revoke: a ticket is no argument' revoke "$secret"; hides
helps 'revoke FROM'
bad 2 "there is no verb 'shmb1-…'" "$secret"; hides
bad 2 "share: 'shmb1-…' is no block" share "$secret"; hides
bad 2 "show: 'shmb1-…' is no block" show "$secret"; hides
bad 1 "free: name 'shmb1-…': " free --name "$secret"; hides
bad 1 'put: opening SHMB1-…: No such file' put "$(tr a-z A-Z <<<"$secret")" --name secret; hides
bad 2 'share: say what' share
bad 2 'share: say what' share --name bytes 1
bad 1 'share: block 999999: ' share 999999
bad 1 "share: name 'nobody': " share --name nobody
bad 2 'share: there is no user ' share 1 --uid no-such-user
bad 2 'share: there is no user ' share 1 --uid 4294967295
bad 2 'share: the time to live .0. is too short: allowed is from 1ms to 720h' share 1 --ttl 0
bad 2 'share: the time to live .721h. is too long: allowed is from 1ms to 720h .30 days.' share 1 --ttl 721h
good free --name bytes
# Of the other user's ticket nobody knows but the daemon.
stop_daemon
start_daemon --size 64M

echo "== times to live"
good alloc 100K --ttl 10m
id=$(cat "$folder/out")
good show "$id"
says '^expires +in (10m|9m)'
says '^It lives until its time has passed, and is freed then\.$'
good renew "$id" --ttl 2h
good show "$id"
says '^expires +in (2h00m|1h59m)'
json show "$id"
says '"tickets": 0'
says '"links": 0'
good free "$id"
empty_pool "after a time to live"
good alloc 100K --ttl 10m --name brief
id=$(cat "$folder/out")
good show "$id"
says '^It lives until its time has passed, and is freed then, names and all\.$'
[ "$(field timed_blocks status)" = 1 ] || wrong "status counts no block with a time to live"
good renew "$id" --ttl 1ms
for _ in $(seq 1000); do
	[ "$(blocks)" != 0 ] || break
	sleep 0.01
done
empty_pool "after a time to live has passed"
good put "$folder/bytes" --name brief --ttl 10m
id=$(cat "$folder/out")
good show "$id"
says '^expires +in (10m|9m)'
good get brief "$folder/copy"
cmp -s "$folder/bytes" "$folder/copy" || wrong "the bytes with a time to live differ"
good renew "$id" --ttl 1ms
for _ in $(seq 1000); do
	[ "$(blocks)" != 0 ] || break
	sleep 0.01
done
empty_pool "after what was put has expired"
bad 2 'put: the time to live .0. is too short' put "$folder/bytes" --name brief --ttl 0
good alloc 100K --ttl 10m --name lasting
id=$(cat "$folder/out")
good renew "$id" --ttl 0
good show "$id"
! grep -q '^expires' "$folder/out" || wrong "it still expires"
good free "$id"
bad 2 'alloc: it needs --name or --ttl' alloc 64
bad 2 "alloc: the time to live '5' is not a time" alloc 64 --ttl 5
bad 2 'alloc: the time to live .0. is too short' alloc 64 --ttl 0
bad 2 'renew: say which block' renew 1
bad 2 "renew: the time to live '721h' is too long: allowed is from 1ms to 720h .30 days., or 0 for none" renew 1 --ttl 721h
bad 2 'renew: say which block' renew --ttl 1s
bad 1 'renew: block 999999: ' renew 999999 --ttl 1s
empty_pool "after times to live"

echo "== quotas"
stop_daemon
start_daemon --size 64M --quota 'user:*:bytes=16M,names=1' --quota user:nobody:waiters=7
good users
says '^USER +BYTES MAX-BYTES BLOCKS NAMES MAX-NAMES TICKETS LINKS WAITERS MAX-WAITERS SESSIONS$'
good users --sort max-waiters:desc --no-headings -o user,max_names,max-bytes
says "^nobody +1 +16M$"
json users
says '"max_bytes": 16777216'
says '"max_links": null'
good alloc 1M --name one
id=$(cat "$folder/out")
bad 1 "name: .* is 1 name, and 1 is used, by a session that has ended: give some back, or have the quota raised" name "$id" two
helps 'shmbuddy users'
bad 1 'alloc: .* the quota of user .* is 16M, and 1M are used, by 1 block: ' alloc 16M --ttl 1h
helps 'quota: 1M of 16M used, by 1 block$'
good free --name one
stop_daemon
start_daemon --size 64M
good users
says '^USER +BYTES BLOCKS NAMES TICKETS LINKS WAITERS SESSIONS$'

echo "== circles of links"
good gc
says '^freed       0 blocks, 0$'
says '^kept        0 with links$'
says '^took        [0-9]+ us in [0-9]+ slices?, the longest [0-9]+ us$'
json gc
says '"freed_bytes": 0'
bad 2 'gc: it takes no operands' gc now
bad 3 'gc: ' --socket "$folder/none" gc

echo "== sessions are ended"
start_holder 1M call
good end "$session"
says "^session $session, hold, pid $holder, has ended: it held 1 block, 1M set aside for it$"
holder_ends 1
grep -q 'the session is over' "$folder/hold.err" || wrong "its program was told: $(cat "$folder/hold.err")"
empty_pool "after a session was ended"
# One that makes no call: asked in vain, killed.
start_holder 2M
bad 1 "end: session $session, hold, pid $holder, was asked but goes on: " end "$session" --wait 0
helps "--kill, or .kill -9 $holder"
[ "$(used)" = 2097152 ] || wrong "a session that goes on has lost its block"
json end "$session" --kill
says '"killed": true'
says '"blocks": 1'
says '"bytes": 2097152'
holder_ends 137
empty_pool "after a client was killed"
# A program that comes back at once gets the number that has become free: the session that was meant has ended all the same.
(for _ in 1 2 3 4 5; do "$build/tests/support/hold" 64K call; done) >"$folder/hold" 2>"$folder/hold.err" 5>&- &
holder=$!
for _ in 1 2 3 4 5; do
	session=
	for _ in $(seq 1000); do
		session=$("$shmbuddy" clients --no-headings -o program,session | awk '$1 == "hold" { print $2 }')
		[ -z "$session" ] || break
		sleep 0.01
	done
	good end "$session"
done
holder_ends 1
empty_pool "after a client was ended five times"
bad 1 'end: there is no session 999$' end 999
# The number that was given back last is given next: to the command itself, which must not be what it ends.
own=$("$shmbuddy" clients --no-headings -o session | tr -d ' ')
for how in --json --kill; do
	bad 1 "end: there is no session $own but that of this command" end "$own" $how
done
# Another user's.
start_holder 64K
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && setpriv --reuid 65534 --clear-groups "$shmbuddy" --version >/dev/null 2>&1; then
	chmod 711 "$folder"
	chmod 666 "$SHMBUDDY_SOCKET"
	setpriv --reuid 65534 --clear-groups "$shmbuddy" end "$session" --kill >"$folder/out" 2>"$folder/err"
	[ $? = 1 ] || wrong "another user ends a session"
	helps "^shmbuddy: end: cannot end it: session $session belongs to user 0: "
	chmod 660 "$SHMBUDDY_SOCKET"
else
	echo "left out: another user's session, which needs root and setpriv"
fi
good end "$session" --kill
holder_ends 137
empty_pool "after a client was killed again"

echo "== names that go over to others, ranges, and patterns"
printf 'first' >"$folder/in"
good put "$folder/in" --name cam/left
first=$(cat "$folder/out")
printf 'the second' >"$folder/in"
bad 1 "put: name 'cam/left': " put "$folder/in" --name cam/left
good put "$folder/in" --name cam/left --replace
second=$(cat "$folder/out")
[ "$first" != "$second" ] || wrong "the id is that of the block before"
good get cam/left
says '^the second$'
bad 1 "show: block $first: " show "$first"
good put "$folder/in" --name cam/right --replace # which is not there
good alloc 100 --name mic
bad 1 "alloc: .*'mic': " alloc 100 --name mic
good alloc 200 --name mic --replace
[ "$(field names status)" = 3 ] || wrong "there should be 3 names"

good name "$second" part --offset 4 --length 3
good get part
says '^sec$'
good name "$second" tail --offset 4
good get tail
says '^second$'
good name "$second" other
good show "$second" --bytes
says '^name +part, for 3 from 4 on, published'
says '^name +tail, for 6 from 4 on, published'
says '^name +other, published'
json show "$second"
good ls --no-headings -o id,name
says "^ *$second +cam/left \\+3 *$"
good names --no-headings --bytes -o name,block,offset,size --sort name 'part'
says "^part +$second +4 +3 *$"
good free --name cam/left
good free --name other
good ls --bytes --no-headings -o id,name
says "^ *$second +tail \[4\+6\] \+1 *$"
json ls
bad 1 "name: name 'mic' for block $second: " name "$second" mic
grep -q -- '--replace' "$folder/err" || wrong "the remedy does not say --replace"
good name "$second" mic --replace
good get mic
says '^the second$'
bad 2 "name: name 'x' for block $second: .*10 bytes" name "$second" x --offset 10
bad 2 "name: name 'x' for block $second: .*10 bytes" name "$second" x --offset 9 --length 2
bad 1 'name: block 999999: ' name 999999 x
bad 2 "name: name '//x' for block" name "$second" //x
bad 2 'name: ' name
bad 2 'name: ' name "$second"
bad 2 'name: ' name x y
bad 2 'name: the length must be 1 byte or more' name "$second" x --length 0
bad 2 "name: the offset 'x' is not a size" name "$second" x --offset x
good name "$second" whole --offset 0

good names --no-headings -o name --sort name 'cam/*'
[ "$(tr -d ' ' <"$folder/out")" = cam/right ] || wrong "cam/* is cam/right"
good names --no-headings -o name --prefix ta
says '^tail'
good names --prefix ta '*l'
says '^tail'
good names '*'
bad 1 "names: no name matches 'cam'" names cam
bad 1 "names: no name starts with 'mik'" names --prefix mik
bad 1 "names: no name that starts with 'ta' matches 'm.'" names --prefix ta 'm*'
bad 1 "names: no name matches 'cam'" names cam --json
bad 2 'names: it takes one pattern' names a b
json names 'm*'
for name in cam/right mic part tail whole; do good free --name $name; done
empty_pool "after names went over to others"

echo "== names, odd but valid"
number=0
for name in 'with blanks and "quotes"' "it's" 'ünïcödé/漢字/🧠' '-leading' '$(touch x)' '%s%n' '.' 'a/../b' '<&>' 'back\slash' \
	"$(printf 'n%.0s' $(seq 255))" $'\u202eright to left'; do
	printf '%s' "$name" >"$folder/in"
	good put "$folder/in" --name "$name"
	good get -- "$name"
	cmp -s "$folder/in" "$folder/out" || wrong "get of '$name' brings something else"
	number=$((number + 1))
done
json names
if have_python; then
	python3 - "$folder/out" <<'PYTHON' || wrong "the names in JSON are not those that were given"
import json, sys
names = json.load(open(sys.argv[1]))["names"]
texts = {entry["name"] for entry in names}
assert {"with blanks and \"quotes\"", "ünïcödé/漢字/🧠", "back\\slash", "\u202eright to left"} <= texts, texts
PYTHON
fi
[ "$(field names status)" = "$number" ] || wrong "$number names were given"
for verb in status ping ls names clients users map; do
	json "$verb"
	! grep -q '"[a-z0-9_]*-[a-z0-9_-]*":' "$folder/out" || wrong "a dash in a key of $verb --json"
done
json ls -o id,size
json show "$("$shmbuddy" ls --no-headings -o id | head -1 | tr -d ' ')"
"$shmbuddy" ls --no-headings -o id | while read -r id; do "$shmbuddy" free "$id" || echo "free $id" >>"$folder/not-freed"; done
[ ! -e "$folder/not-freed" ] || wrong "not freed: $(cat "$folder/not-freed")"
empty_pool "after the names"
json ls
json names
json map
json alloc 64 --name j
json show "$(field id ls)"
good free --name j

echo "== files"
head -c 5000001 /dev/urandom >"$folder/in"
in=$(hash "$folder/in")
good put "$folder/in" --name file --tag five
good show "$(cat "$folder/out")" --json
says '"sealed": false'
good put "$folder/in" --name sealed --seal
good show "$(cat "$folder/out")"
says '^sealed '
good get sealed "$folder/copy"
[ "$(hash "$folder/copy")" = "$in" ] || wrong "the copy of a sealed block differs"
good put "$folder/in" --name sealed --replace --seal --meta again
good show "$(cat "$folder/out")" --json
says '"sealed": true'
good free --name sealed
good get file "$folder/copy"
[ "$(hash "$folder/copy")" = "$in" ] || wrong "the copy differs"
good get file -
[ "$(hash "$folder/out")" = "$in" ] || wrong "the copy on standard output differs"
echo old >"$folder/copy"
chmod 640 "$folder/copy"
good get file "$folder/copy"
[ "$(hash "$folder/copy")" = "$in" ] || wrong "an old file is not replaced"
good free --name file
cat "$folder/in" | "$shmbuddy" put - --name pipe >"$folder/out" 2>"$folder/err" || wrong "put from a pipe"
good get pipe
[ "$(hash "$folder/out")" = "$in" ] || wrong "the copy from the pipe differs"
good free --name pipe
"$shmbuddy" put - --name redirected <"$folder/in" >"$folder/out" 2>"$folder/err" || wrong "put from a redirection"
[ "$(field size show "$(cat "$folder/out")")" = 5000001 ] || wrong "the redirected file has another size"
good free --name redirected
: >"$folder/empty"
bad 1 'put: .*empty.*: it is empty' put "$folder/empty" --name e
bad 1 'put: standard input: it is empty' put - --name e
bad 1 'put: opening .*: No such file' put "$folder/none" --name e
bad 1 'put: .*: Is a directory' put "$folder" --name e
head -c 70M /dev/zero >"$folder/large"
bad 1 'put: 70M for .*: ' put "$folder/large" --name e
head -c 70M /dev/zero | "$shmbuddy" put - --name e >"$folder/out" 2>"$folder/err"
[ "${PIPESTATUS[1]}" = 1 ] || wrong "put from a pipe of more than the pool has"
empty_pool "after put was refused"

echo "== in the middle of things"
# put is killed while it reads, from a pipe and from a file: nothing of it is left.
mkfifo "$folder/fifo"
"$shmbuddy" put "$folder/fifo" --name half >/dev/null 2>&1 &
putter=$!
exec 5>"$folder/fifo"
head -c 1M /dev/zero >&5
kill -9 "$putter"
wait "$putter" 2>/dev/null
exec 5>&-
for try in $(seq 10); do
	head -c 40M /dev/zero >"$folder/large"
	"$shmbuddy" put "$folder/large" --name half >/dev/null 2>&1 &
	putter=$!
	sleep "0.00$try"
	kill -9 "$putter" 2>/dev/null
	wait "$putter" 2>/dev/null
	"$shmbuddy" free --name half 2>/dev/null # it was faster
	for _ in $(seq 500); do
		[ "$(blocks)" != 0 ] || break
		sleep 0.01
	done
	empty_pool "put was killed"
done

# The session of a put is ended while it reads: it says what helps, and nothing of it is left.
"$shmbuddy" put "$folder/fifo" --name half >"$folder/hold" 2>"$folder/hold.err" &
holder=$!
exec 5>"$folder/fifo"
head -c 1M /dev/zero >&5
bad 1 'end: session .*, shmbuddy, .* goes on: ' end "$(session_of "$holder")" --wait 0
exec 5>&-
holder_ends 1
grep -q '^shmbuddy: put: .*: the session is over' "$folder/hold.err" || wrong "put says: $(cat "$folder/hold.err")"
grep -q '^  try: run the command again' "$folder/hold.err" || wrong "put has no remedy"
empty_pool "put's session was ended"

# get into what fails leaves what was there.
good put "$folder/in" --name file
if [ -w /dev/full ]; then
	bad 1 'get: .*: No space left on device' get file /dev/full
	"$shmbuddy" get file >/dev/full 2>"$folder/err"
	[ $? = 1 ] || wrong "get to a full device ends with $?"
	"$shmbuddy" ls >/dev/full 2>"$folder/err"
	[ $? = 1 ] || wrong "ls to a full device"
	head -1 "$folder/err" | grep -q '^shmbuddy: ls: ' || wrong "ls to a full device says nothing"
fi
mkdir "$folder/disk"
if unshare -m true 2>/dev/null; then
	unshare -m bash -c '
		mount -t tmpfs -o size=1M none "$1/disk" || exit 77
		echo old >"$1/disk/copy"
		"$2" get file "$1/disk/copy" >"$1/out" 2>"$1/err"
		status=$?
		[ "$(ls -A "$1/disk")" = copy ] && [ "$(cat "$1/disk/copy")" = old ] || { ls -lA "$1/disk" >>"$1/err"; exit 99; }
		exit $status' bash "$folder" "$shmbuddy"
	status=$?
	if [ "$status" = 77 ]; then
		echo "left out: nothing may be mounted here"
	elif [ "$status" != 1 ] || ! grep -q '^shmbuddy: get: .*: No space left' "$folder/err"; then
		wrong "get to a full disk: $status"
	fi
else
	echo "left out: a full disk, which needs a mount namespace"
fi
(ulimit -f 100 && exec "$shmbuddy" get file "$folder/disk/copy") >"$folder/out" 2>"$folder/err"
[ -z "$(ls -A "$folder/disk")" ] || wrong "a file that may not be that large leaves $(ls -A "$folder/disk")"
bad 1 'get: ' get file "$folder/none/copy"
bad 1 'get: ' get file "$folder"
"$shmbuddy" get file 2>"$folder/err" | head -c 10 >/dev/null
case ${PIPESTATUS[0]} in
1 | 141) ;;
*) wrong "get to a closed pipe: ${PIPESTATUS[0]}" ;;
esac
(trap '' PIPE && "$shmbuddy" get file 2>"$folder/err"; echo $? >"$folder/status") | head -c 10 >/dev/null
[ "$(cat "$folder/status")" = 1 ] && grep -q '^shmbuddy: get: .*: Broken pipe' "$folder/err" || wrong "get to a closed pipe, SIGPIPE ignored"
"$shmbuddy" get file >&- 2>"$folder/err"
[ $? = 1 ] || wrong "get to a closed standard output"
good free --name file

kill_daemon() {
	kill -9 "$daemon"
	wait "$daemon" 2>/dev/null
	daemon=
}

echo "== the daemon is killed, and its pool is made anew"
good put "$folder/in" --name file
"$shmbuddy" put "$folder/fifo" --name half >"$folder/out" 2>"$folder/err" &
putter=$!
exec 5>"$folder/fifo"
head -c 100K "$folder/in" >&5
kill_daemon
for verb in status ping ls 'show 1' names clients users map 'alloc 64 --name x' 'free 1' 'name 1 x' 'get file' 'end 1'; do
	bad 3 "${verb%% *}: cannot connect: " $verb
done
start_daemon --size 64M
exec 5>&-
wait "$putter"
status=$?
[ "$status" = 1 ] || wrong "put into a pool that was made anew: $status"
good ping
good put "$folder/in" --name file
good get file
[ "$(hash "$folder/out")" = "$in" ] || wrong "the copy differs after the restart"
good free --name file
empty_pool "after the restart"
stop_daemon

echo "== the daemon is killed, and takes its pool over"
lasts=
start_daemon --size 128M
good put "$folder/in" --name file
head -c 20M /dev/urandom >"$folder/large"
# From a pipe: it has connected before the daemon is killed, and allocates and publishes after that. From a file: in the middle of it.
for how in pipe file; do
	if [ $how = pipe ]; then
		"$shmbuddy" put "$folder/fifo" --name $how >"$folder/out" 2>"$folder/err" &
		putter=$!
		exec 5>"$folder/fifo"
		head -c 1M "$folder/large" >&5
		kill_daemon
		tail -c +1048577 "$folder/large" >&5 &
		exec 5>&-
	else
		"$shmbuddy" put "$folder/large" --name large >"$folder/out" 2>"$folder/err" &
		putter=$!
		for _ in $(seq 1000); do
			[ "$(blocks)" = 1 ] || break # file and, by now, large
		done
		kill_daemon
	fi
	start_daemon --size 128M
	wait "$putter"
	status=$?
	[ "$status" = 0 ] || wrong "put, from a $how, over a restart of the daemon: $status"
	name=large
	[ $how = file ] || name=pipe
	"$shmbuddy" get $name "$folder/copy" && cmp -s "$folder/copy" "$folder/large" || wrong "put, from a $how, over a restart is not what it was"
	good free --name $name
done
# A client that makes no call while the daemon is restarted: its connection is lost, not its session.
start_holder 3M
kill_daemon
start_daemon --size 128M
good clients --no-headings --bytes -o session,pid,program,connected,blocks,bytes
says "^ *$session +$holder +hold +no +1 +4194304$"
good show "$(field id ls)"
bad 1 "end: session $session, hold, pid $holder, was asked but goes on: " end "$session" --wait 0
good end "$session" --kill
says "^session $session, hold, pid $holder, has ended: it held 1 block, 4M set aside for it$"
holder_ends 137
good get file
[ "$(hash "$folder/out")" = "$in" ] || wrong "the copy differs after the daemon was killed"
good free --name file
empty_pool "after the takeovers"
stop_daemon
rm -f /dev/shm/shmbuddy."$pool" /dev/shm/shmbuddy."$pool".*
lasts=--ephemeral

echo "== 300 MB"
rm -f "$folder/large"
free=$(df --output=avail -B1M /dev/shm | tail -1)
room=$(df --output=avail -B1M "$folder" | tail -1)
if [ "$free" -lt 700 ] || [ "$room" -lt 700 ]; then
	echo "left out: it needs 700 MB in /dev/shm and in $folder"
else
	start_daemon --size 512M
	head -c 300000000 /dev/urandom >"$folder/large"
	in=$(hash "$folder/large")
	good put "$folder/large" --name large
	good get large "$folder/copy"
	[ "$(hash "$folder/copy")" = "$in" ] || wrong "300 MB do not come back unchanged"
	good free --name large
	rm -f "$folder/copy" "$folder/large"
	empty_pool "after 300 MB"
	stop_daemon
fi

echo "== a daemon that does not answer"
wait "$asker"
status=$?
cp "$folder/hung.out" "$folder/out"
cp "$folder/hung.err" "$folder/err"
[ "$status" = 3 ] && [ ! -s "$folder/out" ] || wrong "a daemon that hangs: exit status $status"
helps '^shmbuddy: ls: cannot connect: the daemon on .*/hung did not answer within 30s: it hangs, is stopped, or has too much to do$'
helps 'kill -CONT PID'
helps 'kill -9 PID and start it anew'
helps 'try: --offline'
if have_python; then
	wait "$watcher"
	status=$?
	cp "$folder/terminal" "$folder/out"
	[ "$status" = 3 ] || wrong "a daemon that hangs, at a terminal: exit status $status"
	[ "$(sed -n 1p "$folder/terminal" | tr -d '\r')" = '  waiting for the daemon to answer' ] || wrong "a terminal is not told"
fi
kill -CONT "$hung"
kill "$hung"
wait "$hung"
hung=

left=$(find /dev/shm -name "shmbuddy.$pool" -o -name "shmbuddy.$pool.*")
[ -z "$left" ] || wrong "left behind: $left"
[ "$failures" = 0 ] || { echo "$failures failures; the daemon's log:"; tail -30 "$folder/log"; exit 1; }
echo "all as it should be"
