#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# box.sh FOLDER COMMAND…: boots a real systemd as process 1 of namespaces of its own, on a throw-away copy of this machine's
# files, runs COMMAND in it, and ends with its exit status, or 77 where no such box can be had. Nothing that happens
# inside stays: the root is an overlay whose upper layer is a tmpfs; /tmp, /run, /dev/shm, processes, cgroups, network and
# hostname are the box's own. FOLDER (the build) and the folder of the sources are seen inside, under their own paths.
#
# How: this script runs three times.
#   outside  makes a cgroup for the box (in each hierarchy, with cgroup v1) and waits; cleans up behind it
#   inside   has new namespaces; builds the root, pivots into it and becomes systemd
#   guest    is a child of that systemd's pid namespace; waits until it has booted, runs the command, powers the box off
set -eu

cgroups=/sys/fs/cgroup
self=$(readlink -f "$0")
sources=${self%/tests/systemd/box.sh}

# cgroup v2 is one hierarchy at the mount point; v1, or both together, are several below it.
hierarchies() {
	if [ "$(stat -fc %T $cgroups)" = cgroup2fs ]; then
		echo $cgroups
	else
		printf '%s\n' $cgroups/*/ | sed 's,/$,,'
	fi
}

# ---- outside -------------------------------------------------------------------------------------------------------

outside() {
	local tool hierarchy file
	[ "$(id -u)" = 0 ] || skip "needs root"
	for tool in unshare pivot_root setpriv dbus-daemon; do
		command -v $tool >/dev/null || skip "needs $tool"
	done
	[ -x /lib/systemd/systemd ] || skip "needs systemd"

	export BOX_FOLDER=$1 BOX_WORK
	BOX_WORK=$(mktemp -d /tmp/shmbuddy-box-XXXXXX)
	BOX_NAME=${BOX_WORK##*/}
	box=
	trap take_down EXIT
	trap 'exit 143' TERM INT HUP
	for hierarchy in $(hierarchies); do
		mkdir "$hierarchy/$BOX_NAME" 2>/dev/null || skip "no cgroup can be made in $hierarchy"
	done
	for file in cpuset.cpus cpuset.mems; do # of cgroup v1: empty, and so unusable, until told
		[ ! -e "$cgroups/cpuset/$file" ] || cat "$cgroups/cpuset/$file" >"$cgroups/cpuset/$BOX_NAME/$file"
	done
	(
		for hierarchy in $(hierarchies); do echo "$BASHPID" >"$hierarchy/$BOX_NAME/cgroup.procs"; done
		exec setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child=SIGKILL \
			--cgroup --uts --ipc --net -- "$self" --inside "${@:2}"
	) &
	box=$!
	wait "$box" || true
	[ -s "$BOX_WORK/status" ] || {
		sed 's/^/    /' "$BOX_WORK/console" 2>/dev/null || true
		skip "systemd did not boot here"
	}
	exit "$(cat "$BOX_WORK/status")"
}

skip() {
	echo "skipped: box.sh: $*" >&2
	exit 77
}

take_down() {
	local hierarchy
	[ -z "$box" ] || kill -9 "$box" 2>/dev/null || true
	wait 2>/dev/null || true
	for hierarchy in $(hierarchies); do
		for _ in $(seq 100); do # a cgroup cannot go before its last process is wholly gone
			find "$hierarchy/$BOX_NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
			[ -d "$hierarchy/$BOX_NAME" ] || break
			sleep 0.05
		done
	done
	rm -f "$BOX_WORK/status" "$BOX_WORK/console"
	rmdir "$BOX_WORK"
}

# ---- inside --------------------------------------------------------------------------------------------------------

inside() {
	exec 7>"$BOX_WORK/status" 8>"$BOX_WORK/console" # opened before the root goes out of sight
	local root=$BOX_WORK/root folder
	mount -t tmpfs -o mode=755 box "$BOX_WORK"
	mkdir "$BOX_WORK/upper" "$BOX_WORK/work" "$root"
	mount -t overlay box -o "lowerdir=/,upperdir=$BOX_WORK/upper,workdir=$BOX_WORK/work" "$root"

	# Of the machine's own services none starts.
	rm -rf "$root"/etc/systemd/system/*.wants
	: >"$root/etc/machine-id"
	: >"$root/etc/fstab"
	ln -sf /dev/null "$root/etc/tmpfiles.d/tmp.conf" # empties /tmp at boot, where FOLDER may well be

	make_file_systems "$root"
	for folder in "$sources" "$BOX_FOLDER"; do
		mkdir -p "$root$folder"
		mount --bind "$folder" "$root$folder"
		[ "$folder" != "$sources" ] || mount -o remount,bind,ro "$root$folder"
	done

	cd "$root"
	mkdir -p .outside
	pivot_root . .outside
	umount -l /.outside
	"$BASH" "$self" --guest "$@" 8>&- &
	exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
		systemd.unit=multi-user.target systemd.show_status=no >&8 2>&1 </dev/null 7>&-
}

make_file_systems() {
	local root=$1 device stream hierarchy name
	mount -t proc proc "$root/proc"
	mount --bind "$root/proc/sys" "$root/proc/sys" # sysctls are the machine's, not the box's
	mount -o remount,bind,ro "$root/proc/sys"
	mount -t sysfs -o ro sysfs "$root/sys"

	mount -t tmpfs -o mode=755 tmpfs "$root/dev"
	for device in null zero full random urandom tty; do
		: >"$root/dev/$device"
		mount --bind "/dev/$device" "$root/dev/$device"
	done
	mkdir "$root/dev/pts" "$root/dev/shm"
	mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
	ln -s pts/ptmx "$root/dev/ptmx"
	ln -s /proc/self/fd "$root/dev/fd"
	for stream in 0:stdin 1:stdout 2:stderr; do
		ln -s "/proc/self/fd/${stream%:*}" "$root/dev/${stream#*:}"
	done
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"

	if [ "$(stat -fc %T $cgroups)" = cgroup2fs ]; then
		mount -t cgroup2 cgroup2 "$root$cgroups"
		return
	fi
	mount -t tmpfs -o mode=755 tmpfs "$root$cgroups"
	for hierarchy in $(hierarchies); do
		name=${hierarchy##*/}
		mkdir "$root$hierarchy"
		case $name in
		unified) mount -t cgroup2 cgroup2 "$root$hierarchy" ;;
		systemd) mount -t cgroup -o none,name=systemd cgroup "$root$hierarchy" ;;
		*) mount -t cgroup -o "$name" cgroup "$root$hierarchy" ;;
		esac
	done
}

# ---- guest ---------------------------------------------------------------------------------------------------------

guest() {
	local state='' status
	export SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	for _ in $(seq 300); do
		state=$(systemctl is-system-running 2>/dev/null || true)
		case $state in running | degraded) break ;; esac
		sleep 0.1
	done
	case $state in
	running | degraded)
		status=0
		"$@" 7>&- || status=$?
		echo $status >&7
		;;
	*) echo "systemd is not up: ${state:-no answer}" >&2 ;;
	esac
	kill -s RTMIN+14 1 # power off, without asking anybody: systemd(1)
}

case $1 in
--inside) inside "${@:2}" ;;
--guest) guest "${@:2}" ;;
*) outside "$@" ;;
esac
