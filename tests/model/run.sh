#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# tests/model/run.sh: has spin go through all states of the models here; then takes out one thing at a time that they rely on, and
# fails unless spin finds what becomes of it. Exit status 77: there is no spin.
set -eu
cd "$(dirname "$0")"
for tool in spin cc; do
	command -v $tool >/dev/null || {
		echo "skipped: there is no $tool" >&2
		exit 77
	}
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# search SWITCH…: the verdict of a whole search of $model is in $work/verdict.
search() {
	local source=$PWD/$model
	(
		cd "$work" && rm -f pan*
		spin "$@" -a "$source" && cc -O2 -DSAFETY -DCOLLAPSE -o pan pan.c &&
			./pan -m100000 -w24
	) >"$work/verdict" 2>&1
}

show() {
	cat "$work/verdict"
	failed=1
}

# holds WHAT SWITCH…: there is no error in any state that can be reached.
holds() {
	local what=$1
	shift
	if search "$@" && grep -q 'errors: 0' "$work/verdict" && ! grep -qE 'not completed|too small|error:' "$work/verdict"; then
		awk -v what="$what" '/states, stored/ { states = $1 } /elapsed time/ { seconds = $4 }
			END { printf "holds: %s: %d states, %s s\n", what, states, seconds }' "$work/verdict"
	else
		echo "FAILED: $what: there is an error, or not all was searched:"
		show
	fi
}

# breaks ERROR WHAT SWITCH…: this error is found.
breaks() {
	local error=$1 what=$2
	shift 2
	search "$@" || true
	if grep -qF "pan:1: $error" "$work/verdict"; then
		echo "breaks: $what: $error"
	else
		echo "FAILED: $what: not found: $error"
		show
	fi
}

# all_reached: a line that no state reaches says nothing.
all_reached() {
	if grep -E ', state [0-9]+, ' "$work/verdict" | grep -v -e '"-end-"'; then
		echo "FAILED: these lines of the model were never reached"
		failed=1
	fi
}

model=holds.pml
holds "whatever is heard, whoever is killed"
all_reached
holds "releases that are told" -DRELEASED
breaks "assertion violated  !(freed)" "acquiring without a fence" -DNO_CLIENT_FENCE
breaks "assertion violated  !(freed)" "looking without a fence" -DNO_DAEMON_FENCE
breaks "assertion violated  !(freed)" "freeing what began to die during the look" -DONE_LIST
breaks "invalid end state" "releasing without a fence" -DRELEASED -DNO_RELEASE_FENCE
breaks "invalid end state" "a fence at the start of a look alone" -DRELEASED -DFENCE_ONCE

model=slots.pml
holds "threads that share slots"
all_reached
breaks "assertion violated (((((slot[0]&3)==1)+" "taking a slot that is not claimed" -DUNCLAIMED -DLEAKS
breaks "assertion violated ((slot[0]==0)&&(slot[1]==0))" "emptying it only if it is the same still" -DUNCLAIMED -DCOMPARED
exit $failed
