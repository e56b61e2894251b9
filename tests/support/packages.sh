# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034,SC2086
# packages: for run.sh, demo.sh and storm.sh: what a machine must have before anything can be built. To be sourced.

packages_build="cmake make gcc libc6-dev pkg-config libuv1-dev libprotobuf-c-dev protobuf-c-compiler libsmartcols-dev
	libsystemd-dev libcmocka-dev"
packages_all="clang libclang-rt-dev|libclang-rt-14-dev g++ clang-format clang-tidy cppcheck systemd dbus util-linux spin"

packages_installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# packages_missing NAME…: prints those that are not there. Of A|B any will do; the first that apt offers is asked for.
packages_missing() {
	local wish name found
	for wish in "$@"; do
		found=
		for name in ${wish//|/ }; do
			packages_installed "$name" && continue 2
			[ -n "$found" ] || ! apt-cache show "$name" >/dev/null 2>&1 || found=$name
		done
		echo "${found:-${wish%%|*}}"
	done
}

# packages_need NAME…: installs what is missing, and says so; where there is no apt, looks for the tools themselves.
packages_need() {
	local missing sudo=
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		packages_look_for_tools
		return
	fi
	missing=$(packages_missing "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" != 0 ]; then
		sudo=sudo
		if ! command -v sudo >/dev/null; then
			echo "missing packages, and neither root nor sudo to install them:" $missing >&2
			return 1
		fi
	fi
	echo "Installing with apt:" $missing
	local apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300"
	$apt update && missing=$(packages_missing "$@") && $apt install -y --no-install-recommends $missing >/dev/null
}

packages_look_for_tools() {
	local tool module missing=
	for tool in cmake make cc pkg-config protoc-c; do
		command -v $tool >/dev/null || missing="$missing $tool"
	done
	for module in libuv libprotobuf-c smartcols cmocka; do
		pkg-config --exists $module 2>/dev/null || missing="$missing $module(headers)"
	done
	[ -z "$missing" ] || {
		echo "This is no Debian or Ubuntu, so nothing is installed by itself. Missing:$missing" >&2
		return 1
	}
}
