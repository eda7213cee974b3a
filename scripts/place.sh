#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Can EAL load plug-ins from DIRECTORY? Not if it, or one above it, may be written by everybody.
set -eu
dir=$(realpath -m "$1")
while :; do
	case $(stat -c %A "$dir" 2>/dev/null) in
	????????w?)
		echo "$dir may be written by everybody: DPDK loads no plug-in from below it." >&2
		echo "Move this directory elsewhere, for example below ${HOME:-your home}." >&2
		exit 1
		;;
	esac
	[ "$dir" != / ] || break
	dir=$(dirname "$dir")
done
