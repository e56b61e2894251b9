#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The example prefork does what its page says: each worker has the server's table when the server has ended, and the last one frees it.
set -eu
build=${SHMB_BUILD_DIR:?the build folder}
folder=$(mktemp -d /tmp/shmbuddy-prefork-XXXXXX)
pool=prefork-$$
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
	cat "$folder/log" >&2
	exit 1
}

"$build/server/shmbuddyd" --ephemeral --socket "$SHMBUDDY_SOCKET" --pool "$pool" --size 1M 2>"$folder/log" &
daemon=$!
for _ in $(seq 1000); do
	! "$build/client/cli/shmbuddy" ping >/dev/null 2>&1 || break
	kill -0 "$daemon" 2>/dev/null || fail "the daemon did not start"
	sleep 0.01
done

"$build/client/examples/prefork" 5 >"$folder/printed" 2>&1 || fail "prefork ended with $?"
for number in 1 2 3 4 5; do
	echo "worker $number: the sum is 4999950000, and the server is gone"
done >"$folder/expected"
diff "$folder/expected" <(sort "$folder/printed") || fail "< what prefork should print, > what it printed"

# The last worker has said goodbye, and that is answered when all is given back.
[ -z "$("$build/client/cli/shmbuddy" ls)" ] || fail "blocks are left: $("$build/client/cli/shmbuddy" ls)"
echo "prefork: the workers have outlived their server, and nothing is left"
