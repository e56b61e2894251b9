#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The units, for real: installed into a box with a systemd of its own (box.sh), verified, started by the first client,
# stopped and started again, and nothing wrong in the journal. 77: no box can be had here.
set -eu

fail() {
	echo "FAILED: $*" >&2
	systemctl status --no-pager shmbuddyd.service shmbuddyd.socket >&2 || true
	journalctl --no-pager -u shmbuddyd.service -u shmbuddyd.socket >&2
	exit 1
}

# Waits, at most ten seconds, until a command succeeds.
until_true() {
	for _ in $(seq 200); do
		! "$@" || return 0
		sleep 0.05
	done
	fail "still not so: $*"
}

in_the_box() {
	local units="/usr/lib/systemd/system/shmbuddyd.service /usr/lib/systemd/system/shmbuddyd.socket" said first
	local blanks="/opt/a prefix of 100% its own"

	unset SHMBUDDY_SOCKET XDG_RUNTIME_DIR # the socket is where programs look for it by themselves
	cmake --install "$1" --prefix "$blanks" >/dev/null
	said=$(systemd-analyze verify "$blanks/lib/systemd/system/shmbuddyd.service" 2>&1) || fail "with blanks: $said"
	[ -z "$said" ] || fail "with blanks: $said"
	rm -r "$blanks"

	cmake --install "$1" --prefix /usr >/dev/null
	ldconfig

	# systemd-analyze exits with 0 on most of what it complains about: it must not say a word either.
	# shellcheck disable=SC2086
	said=$(systemd-analyze verify $units 2>&1) || fail "systemd-analyze verify: $said"
	[ -z "$said" ] || fail "systemd-analyze verify: $said"

	systemd-sysusers
	getent passwd shmbuddy >/dev/null || fail "no user shmbuddy after systemd-sysusers"
	systemctl daemon-reload
	systemctl start shmbuddyd.socket
	[ "$(stat -c '%U:%G %a' /run/shmbuddy/shmbuddy.sock)" = "shmbuddy:shmbuddy 660" ] ||
		fail "the socket: $(stat -c '%U:%G %a' /run/shmbuddy/shmbuddy.sock)"
	! systemctl is-active -q shmbuddyd.service || fail "the service runs before anybody has asked for it"

	shmbuddy ping || fail "the first client was not served"
	systemctl is-active -q shmbuddyd.service || fail "the service is not active after the first client"
	[ "$(systemctl show -P Type -P StatusErrno shmbuddyd.service | tr '\n' ' ')" = "notify 0 " ] || fail "not Type=notify"
	first=$(systemctl show -P MainPID shmbuddyd.service)
	[ "$(stat -c %U "/proc/$first")" = shmbuddy ] || fail "the daemon runs as $(stat -c %U "/proc/$first")"
	shmbuddy alloc 1M --name x || fail "alloc"
	shmbuddy ls
	shmbuddy names | grep -qw x || fail "the name is not listed"
	[ -n "$(find /dev/shm -user shmbuddy -name 'shmbuddy.*')" ] || fail "the pool is not in /dev/shm"

	# Stopped, the service leaves its socket, so the next client starts it again.
	systemctl stop shmbuddyd.service 2>/dev/null
	[ "$(systemctl show -P Result shmbuddyd.service)" = success ] || fail "the service did not stop well"
	[ -S /run/shmbuddy/shmbuddy.sock ] || fail "the socket went with the service"
	[ -n "$(find /dev/shm -name 'shmbuddy.*')" ] || fail "the pool went with the service"
	# Without --ephemeral the pool stays, and the next daemon takes it over.
	shmbuddy ping || fail "the service is not started a second time"
	shmbuddy names | grep -qw x || fail "the name is gone after a restart"
	[ "$(systemctl show -P MainPID shmbuddyd.service)" != "$first" ] || fail "this is the same daemon still"

	systemctl stop shmbuddyd.socket shmbuddyd.service
	until_true [ ! -S /run/shmbuddy/shmbuddy.sock ]
	said=$(journalctl --no-pager -q -o cat -p warning -u shmbuddyd.service -u shmbuddyd.socket)
	[ -z "$said" ] || fail "in the journal: $said"
	journalctl --no-pager -q -u shmbuddyd.service -u shmbuddyd.socket

	rm /dev/shm/shmbuddy.*
	[ -z "$(ls -A /dev/shm)" ] || fail "in /dev/shm: $(ls -A /dev/shm)"
}

if [ "${1:-}" = --in-the-box ]; then
	in_the_box "$2"
	exit 0
fi
build=${SHMB_BUILD_DIR:?the build folder}
if [ "${SHMB_SANITIZE:-none}" != none ]; then
	echo "skipped: what is built here is for the sanitizers, not for installation" >&2
	exit 77
fi
[ -f "$build/server/systemd/cmake_install.cmake" ] || { echo "skipped: built without libsystemd" >&2; exit 77; }
exec "$(dirname "$0")/box.sh" "$build" bash "$(readlink -f "$0")" --in-the-box "$build"
