#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What the README shows is true: its C program compiles and does what it says, its first look by hand prints what it prints,
# and the files that it names are there.
set -eu
build=${SHMB_BUILD_DIR:?the build folder}
source=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d /tmp/shmbuddy-readme-XXXXXX)
pool=readme-$$
daemon=
export SHMBUDDY_SOCKET=$folder/socket
export PATH=$build/client/cli:$build/server:$PATH

clean_up() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
	wait
	rm -rf "$folder" /dev/shm/shmbuddy."$pool" /dev/shm/shmbuddy."$pool".*
}
trap clean_up EXIT
trap 'exit 1' INT TERM
fail() {
	echo "FAILED: $*" >&2
	exit 1
}

start() {
	shmbuddyd --ephemeral --socket "$SHMBUDDY_SOCKET" --pool "$pool" --size 64M 2>"$folder/log" &
	daemon=$!
	for _ in $(seq 1000); do
		! shmbuddy ping >/dev/null 2>&1 || return 0
		kill -0 "$daemon" 2>/dev/null || fail "the daemon did not start: $(cat "$folder/log")"
		sleep 0.01
	done
	fail "the daemon does not answer"
}
start

# The first look by hand: the same commands, in a shell of their own, must print what stands below them.
head -c 1500000 /dev/urandom >"$folder/photo.jpg"
sed -n '/^    \$ shmbuddyd/,/^    \$ shmbuddy free/p' "$source/README.md" | sed 's/^    //' >"$folder/session"
grep -q '^\$ shmbuddy put' "$folder/session" || fail "the README has no session to try"
grep '^\$ ' "$folder/session" | sed 's/^\$ //' | grep -v -e '^shmbuddyd ' -e '^export ' >"$folder/commands"
(cd "$folder" && bash -e commands) >"$folder/printed" || fail "a command of the README failed"
grep -v '^\$ ' "$folder/session" | sed "s/ root / $(id -un) /" >"$folder/promised"
diff <(tr -s ' ' <"$folder/promised") <(tr -s ' ' <"$folder/printed") || fail "< the README, > what was printed"
cmp "$folder/photo.jpg" "$folder/copy.jpg" || fail "the copy differs"

# How a block is handed on, in a pool where its id is 1; the last command finds nothing.
kill "$daemon"
wait "$daemon" || true
start
sed -n '/^## Who holds/,/^## /p' "$source/README.md" | sed -n '/^    \$ shmbuddy/,/lists the blocks/p' | sed 's/^    //' >"$folder/session"
grep '^\$ ' "$folder/session" | sed 's/^\$ //' >"$folder/commands"
(cd "$folder" && bash commands) >"$folder/printed" 2>&1 || true
grep -v '^\$ ' "$folder/session" | diff - "$folder/printed" || fail "< the README, > what was printed"
cmp "$folder/photo.jpg" "$folder/copy.jpg" || fail "the copy by ticket differs"

# The program.
if [ "${SHMB_SANITIZE:-none}" = none ]; then
	sed -n '/^```c$/,/^```$/p' "$source/README.md" | sed '/^```/d' >"$folder/hello.c"
	library=$(find "$build/client" -name libshmbuddy.so | head -n 1)
	cc -Wall -Wextra -Werror -I"$source/client/include" -o "$folder/hello" "$folder/hello.c" "$library" \
		-Wl,-rpath,"$(dirname "$library")" || fail "the README's program does not compile"
	"$folder/hello" || fail "the README's program"
	[ "$(shmbuddy get greeting - | tr -d '\0' | head -c 5)" = hello ] || fail "greeting does not say hello"
	shmbuddy free --name greeting
fi

# Files and folders in the README, in backquotes and with a slash, exist.
grep -o '`[a-z]*/[A-Za-z_./]*`' "$source"/README.md | tr -d '`' | grep -v '/dev/' | sort -u | while read -r path; do
	case $path in
	*NAME*) ;;
	*) [ -e "$source/$path" ] || fail "$path of the README is not there" ;;
	esac
done
echo "the README holds"
