#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# An installed tree works by itself: a program built against it by pkg-config, and by CMake, talks to its daemon. It shows
# the outside nothing but shmbuddy.h and shmb_ symbols.
set -eu
build=${SHMB_BUILD_DIR:?the build folder}
if [ "${SHMB_SANITIZE:-none}" != none ]; then
	echo "skipped: a library built for a sanitizer cannot be linked with programs that are not" >&2
	exit 77
fi
folder=$(mktemp -d /tmp/shmbuddy-install-XXXXXX)
prefix=$folder/prefix
pool=install-$$
daemon=
export SHMBUDDY_SOCKET=$folder/socket

clean_up() {
	[ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
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

cmake --install "$build" --prefix "$prefix" >"$folder/install.log" || fail "$(cat "$folder/install.log")"
find "$prefix" -type f -o -type l | sort

[ "$(find "$prefix/include" -type f -printf '%P\n')" = shmbuddy.h ] || fail "more than shmbuddy.h in include"
library=$(find "$prefix" -name libshmbuddy.so)
readelf -d "$library" | grep -q 'SONAME.*libshmbuddy\.so\.[0-9]' || fail "no soname with a number"

# What the header declares is what the library shows, no more and no less. (A: the version's own entry.)
nm -D --defined-only "$library" | awk '$2 != "A" { sub("@.*", "", $3); print $3 }' | sort >"$folder/shown"
sed -n '/^SHMB_PUBLIC/s/^[^(]*[ *]\(shmb_[a-z0-9_]*\)(.*/\1/p' "$prefix/include/shmbuddy.h" | sort >"$folder/declared"
[ -s "$folder/declared" ] || fail "no declarations found in shmbuddy.h"
diff "$folder/declared" "$folder/shown" || fail "< declared in shmbuddy.h, > shown by the library"

"$prefix/bin/shmbuddyd" --socket "$SHMBUDDY_SOCKET" --pool "$pool" --size 1M --ephemeral 2>"$folder/log" &
daemon=$!
for _ in $(seq 1000); do
	[ ! -S "$SHMBUDDY_SOCKET" ] || break
	kill -0 "$daemon" 2>/dev/null || fail "the installed daemon did not start"
	sleep 0.01
done
"$prefix/bin/shmbuddy" ping || fail "the installed command line"

cat >"$folder/program.c" <<'C'
#include <shmbuddy.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
	shmb_session *session;
	shmb_block block;

	if (shmb_connect(NULL, &session) || shmb_alloc(session, 100, NULL, &block))
		return puts(shmb_last_error()), 1;
	strcpy(block.data, "it works");
	puts(block.data);
	shmb_close(session);
	return 0;
}
C
export PKG_CONFIG_PATH=${library%/*}/pkgconfig
# shellcheck disable=SC2046
cc -Wall -Wextra -Werror -pedantic "$folder/program.c" -o "$folder/by-pkg-config" $(pkg-config --cflags --libs shmbuddy)
[ "$(LD_LIBRARY_PATH=${library%/*} "$folder/by-pkg-config")" = "it works" ] || fail "the program built by pkg-config"

cat >"$folder/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(program LANGUAGES C)
find_package(shmbuddy 0.1 REQUIRED)
add_executable(by-cmake program.c)
target_link_libraries(by-cmake PRIVATE shmbuddy::shmbuddy)
CMAKE
{ cmake -S "$folder" -B "$folder/build" -DCMAKE_PREFIX_PATH="$prefix" && cmake --build "$folder/build"; } \
	>"$folder/cmake.log" 2>&1 || fail "$(cat "$folder/cmake.log")"
[ "$("$folder/build/by-cmake")" = "it works" ] || fail "the program built by CMake"

kill "$daemon"
wait "$daemon" || fail "the daemon's exit status is $?"
daemon=
left=$(find /dev/shm -name "shmbuddy.$pool" -o -name "shmbuddy.$pool.*")
[ -z "$left" ] || fail "left behind: $left"
