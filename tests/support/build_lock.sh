# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# build_lock: for run.sh, demo.sh and storm.sh: one run at a time uses a build folder and its log. To be sourced.

# build_lock FOLDER: made if need be, and held through descriptor 9 until this shell ends; waits, and says so, while somebody
# else holds it. Whatever may outlive the shell is started with 9<&-, or it would keep the lock. A compiler may well keep it.
build_lock() {
	mkdir -p "$1"
	exec 9<"$1"
	flock --nonblock 9 || {
		echo "Waiting for another run that uses $1"
		flock 9
	}
}
