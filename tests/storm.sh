#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/storm.sh [--build FOLDER] [--kills N] [--seed S]: clients allocate, share and free while their daemon is killed N times (100
# unless told otherwise) with -9, and so are they; nothing that was acknowledged may be lost, nothing else may be left. Builds in
# build/storm; FOLDER is one that is built already. Says what it did, and with which seed. Exit status 0: all held.
# tests/storm/storm.c tells the story.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/support/build_lock.sh
. tests/support/packages.sh

build=
if [ "${1:-}" = --build ]; then
	build=${2:?--build needs a folder}
	shift 2
fi
if [ -z "$build" ]; then
	build=build/storm
	build_lock $build
	# shellcheck disable=SC2086
	packages_need $packages_build 9<&- || exit 1
	{
		cmake -S . -B $build -DSHMB_TESTS=ON -DSHMB_COMMIT_TRAP=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo &&
			cmake --build $build -j "$(nproc)" --target storm
	} >build/storm.log 2>&1 || {
		tail -40 build/storm.log
		echo "storm.sh: the build failed; all of it is in build/storm.log"
		exit 1
	}
fi

# As in run.sh: root has a /dev/shm of its own, so that nothing there is disturbed, and nothing of this outlives it.
storm=("$build/tests/storm/storm" "$@")
enter=(unshare --mount --propagation slave -- "$BASH" -c 'mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm && exec "$@"' bash)
if [ "$(id -u)" = 0 ] && "${enter[@]}" true 2>/dev/null; then
	storm=("${enter[@]}" "${storm[@]}")
fi

# A client that finds a race is to end there, or its kill would hide it.
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}

# What clients and daemons have to say goes to standard error, and is shown only where something went wrong: complaints, and
# the end of the daemon's log.
errors=$(mktemp) || exit 1
trap 'rm -f "$errors"' EXIT
"${storm[@]}" 2>"$errors" 9<&-
status=$?
[ $status = 0 ] || { grep -v ' info  ' "$errors" | tail -n 100; tail -n 100 "$errors"; } >&2
exit $status
