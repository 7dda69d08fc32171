#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Each header compiles alone: it includes what it needs.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
cc=${CC:-gcc}
flags=$(pkg-config --cflags jansson libevent_core libssh sqlite3 inih libsystemd smartcols)
faults=0

for header in common/*.h daemon/*.h client/*.h tests/lib/*.h; do
	# shellcheck disable=SC2086 # the flags are words
	if ! $cc -fsyntax-only -std=gnu11 -D_GNU_SOURCE -I. $flags -x c -include "$header" /dev/null; then
		echo "$header does not compile alone"
		faults=$((faults + 1))
	fi
done
[ "$faults" -eq 0 ]
