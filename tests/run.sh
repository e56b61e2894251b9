#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/run.sh [--all] [CTEST ARGUMENTS…]: builds in build/default and runs every test through ctest, whose summary closes it.
# --all adds what takes longer: warnings as errors under gcc and clang, the checks of the sources, the sanitizers, fuzzing.
# Missing packages are installed with apt, and named. Exit status 0: everything passed, something ran, nothing was left in
# /dev/shm.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/support/build_lock.sh
. tests/support/packages.sh

# This machine may have other daemons, which come and go while the tests run. So root runs all of this with a /dev/shm of
# its own, as large as the machine's, in a mount namespace: what is there in the end, this run has left. (slave: what the
# machine mounts meanwhile is seen.) --own-shm says that this is so already. Others, and root in a container without the
# right to mount, look at the one /dev/shm that there is: see left_behind().
own_shm=
if [ "${1:-}" = --own-shm ]; then
	own_shm=yes
	shift
else
	build_lock build/default # every run builds this one, whatever else it builds
	size=$(df --block-size=1 --output=size /dev/shm 2>/dev/null | tail -n 1)
	enter=(unshare --mount --propagation slave -- "$BASH" -c
		'mount -t tmpfs -o nosuid,nodev,size="$0" tmpfs /dev/shm && exec "$@"' "${size:-0}")
	if [ "$(id -u)" = 0 ] && "${enter[@]}" true 2>/dev/null; then
		exec "${enter[@]}" tests/run.sh --own-shm "$@"
	fi
fi

all=
if [ "${1:-}" = --all ]; then
	all=yes
	shift
fi
jobs=$(nproc)
started=$SECONDS
failed=""

step() {
	printf '\n==== %s (after %d s)\n' "$1" $((SECONDS - started))
}

# fail WHAT: the run goes on, so that one run tells of everything that is wrong.
fail() {
	printf 'FAILED: %s\n' "$1"
	failed="$failed
  $1"
}

shared_objects() {
	local whose=(-user "$(id -u)")
	[ -z "$own_shm" ] || whose=()
	find /dev/shm -maxdepth 1 -name 'shmbuddy*' "${whose[@]}" -printf '%f\n' 2>/dev/null | sort
}

# left_behind: sets $left to what this run has left in /dev/shm. Where that is not its own: objects of this user that were
# not there before, and that no living daemon has; it holds a flock on .state as long as it lives. Those are named only.
left_behind() {
	local object state
	left=
	for object in $(comm -13 <(echo "$before") <(shared_objects)); do
		state=${object%.view}
		state=/dev/shm/${state%.state}.state
		if [ -z "$own_shm" ] && [ -e "$state" ] && ! flock --nonblock 8 8<"$state"; then
			echo "/dev/shm/$object belongs to a daemon that runs; if it is not yours, a test has left it"
		else
			left="$left $object"
		fi
	done
}

# build NAME CMAKE-ARGUMENTS…: $target, or all, into build/NAME; quiet unless something goes wrong.
build() {
	local name=$1 log=build/$1.log
	shift
	if cmake -S . -B "build/$name" -DSHMB_TESTS=ON "$@" >"$log" 2>&1 &&
		cmake --build "build/$name" -j "$jobs" --target "${target:-all}" >>"$log" 2>&1; then
		return 0
	fi
	grep -nE -A5 'error|Error|FAILED|undefined reference' "$log" | head -80 || tail -40 "$log"
	fail "build $name (all of it: $log)"
	return 1
}

# run NAME CTEST-ARGUMENTS…
run() {
	local name=$1
	shift
	ctest --test-dir "build/$name" --output-on-failure --no-tests=error -j "$jobs" "$@" 9<&- ||
		fail "tests of build $name"
}

# storm NAME SEED
storm() {
	tests/storm.sh --build "build/$1" --kills 200 --seed "$2" 9<&- || fail "the storm of build $1, seed $2"
}

# The project's own C files: with generated code left out, since that lies in the build folder.
sources() {
	find client server shared tests -name "*.$1" | sort
}

check_format() {
	# shellcheck disable=SC2046
	clang-format --dry-run -Werror $(sources c) $(sources h) || fail "clang-format (clang-format -i FILE mends it)"
}

check_tidy() {
	sources c | xargs -P "$jobs" -n 4 clang-tidy --quiet -p build/clang 2>build/tidy.log || {
		fail "clang-tidy"
		grep -E 'error|Error' build/tidy.log | head -20
	}
}

# Left out, since cppcheck does not know better: resourceLeak and memleak take CLEANUP_CLOSE and CLEANUP_FREE for leaks;
# autoVariables objects to a waiter on its caller's stack (clang's analyzer looks whether it outlives the call); readdir is
# safe in glibc, and readdir_r deprecated; getpwuid and getpwnam are used by the command line, which has one thread; mmap with MAP_FIXED
# has no result to store, and may well have -1 for a descriptor; NULL is a pointer in every C library for Linux.
check_cppcheck() {
	local id suppressed=""
	for id in resourceLeak memleak autoVariables readdirCalled getpwuidCalled getpwnamCalled leakReturnValNotUsed invalidFunctionArg \
		varFuncNullUB; do
		suppressed="$suppressed --suppress=$id"
	done
	# shellcheck disable=SC2086
	cppcheck --quiet --error-exitcode=1 --inline-suppr -j "$jobs" --std=c11 --enable=warning,performance,portability \
		$suppressed --library=posix -D_GNU_SOURCE= -DSHMB_VERSION='"0"' -DSHMBUDDYD_PATH='"shmbuddyd"' \
		-I shared -I client/include -I . client server shared tests || fail "cppcheck"
}

before=$(shared_objects)
step "packages"
# shellcheck disable=SC2086
packages_need $packages_build ${all:+$packages_all} 9<&- || exit 1

step "build"
build default || exit 1

if [ -n "$all" ]; then
	step "warnings are errors: gcc and clang"
	build gcc -DCMAKE_C_COMPILER=gcc -DSHMB_WERROR=ON -DSHMB_SYSTEMD=OFF
	build clang -DCMAKE_C_COMPILER=clang -DSHMB_WERROR=ON
	step "clang-format"
	check_format
	step "cppcheck"
	check_cppcheck
	step "clang-tidy"
	check_tidy
	step "the model of the holds"
	tests/model/run.sh 9<&- || fail "the model of the holds"
	step "a minute of libFuzzer"
	target=fuzz build fuzz -DCMAKE_C_COMPILER=clang -DSHMB_FUZZ=ON -DSHMB_FUZZ_SECONDS=60 && run fuzz -L fuzz
	step "all tests under the address and undefined-behaviour sanitizers"
	if build asan -DSHMB_SANITIZE=address -DSHMB_COMMIT_TRAP=ON; then
		run asan -LE 'fuzz|demo|model'
		step "the storm: 200 kills of the daemon, under the same sanitizers, and 200 with memory that is zeroed"
		storm asan $((RANDOM * 2)) # the seed says which
		storm asan $((RANDOM * 2 + 1))
	fi
	# Not those that make user namespaces: that takes a process of one thread, user_namespaces(7), and the sanitizer has its own.
	step "the tests where threads meet, under the thread sanitizer"
	if build tsan -DSHMB_SANITIZE=thread; then
		run tsan -L 'unit|integration' -E '^test_(buddy_model|install|namespaces|daemon_moves|model)$'
		step "the storm under the thread sanitizer: 200 kills, all of them by the clock"
		storm tsan $RANDOM
	fi
fi

step "all tests"
# shellcheck disable=SC2086
run default ${all:+-LE model} "$@"

left_behind
[ -z "$left" ] || fail "left behind in /dev/shm:$left"
if [ -n "$failed" ]; then
	printf '\nFAILED:%s\n' "$failed"
	exit 1
fi
