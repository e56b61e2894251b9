#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/run.sh [--all] [CTEST ARGUMENTS…]: builds in build/default and runs every test through ctest, whose summary closes it.
# --all adds what takes longer: warnings as errors under gcc and clang, the checks of the sources, the sanitizers, fuzzing.
# Missing packages are installed with apt, and named. Exit status 0: everything passed, something ran, /dev/shm is as it was.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/support/packages.sh

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
	find /dev/shm -maxdepth 1 -name 'shmbuddy*' -printf '%f\n' 2>/dev/null | sort
}

# build NAME CMAKE-ARGUMENTS…: $target, or all, into build/NAME; quiet unless something goes wrong.
build() {
	local name=$1 log=build/$1.log
	shift
	mkdir -p build
	if cmake -S . -B "build/$name" "$@" >"$log" 2>&1 && cmake --build "build/$name" -j "$jobs" --target "${target:-all}" >>"$log" 2>&1; then
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
	ctest --test-dir "build/$name" --output-on-failure --no-tests=error -j "$jobs" "$@" || fail "tests of build $name"
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
# safe in glibc, and readdir_r deprecated; getpwuid is used by the command line, which has one thread; mmap with MAP_FIXED
# has no result to store, and may well have -1 for a descriptor; NULL is a pointer in every C library for Linux.
check_cppcheck() {
	local id suppressed=""
	for id in resourceLeak memleak autoVariables readdirCalled getpwuidCalled leakReturnValNotUsed invalidFunctionArg \
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
packages_need $packages_build ${all:+$packages_all} || exit 1

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
	step "a minute of libFuzzer"
	target=fuzz build fuzz -DCMAKE_C_COMPILER=clang -DSHMB_FUZZ=ON -DSHMB_FUZZ_SECONDS=60 && run fuzz -L fuzz
	step "all tests under the address and undefined-behaviour sanitizers"
	build asan -DSHMB_SANITIZE=address -DSHMB_COMMIT_TRAP=ON && run asan -LE 'fuzz|demo'
	step "the tests where threads meet, under the thread sanitizer"
	build tsan -DSHMB_SANITIZE=thread && run tsan -L 'unit|integration' -E '^test_(buddy_model|install)$'
fi

step "all tests"
run default "$@"

after=$(shared_objects)
left=$(comm -13 <(echo "$before") <(echo "$after"))
[ -z "$left" ] || fail "left behind in /dev/shm: $(echo "$left" | tr '\n' ' ')"
if [ -n "$failed" ]; then
	printf '\nFAILED:%s\n' "$failed"
	exit 1
fi
