#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# A slice of the comparison of calendar events with systemd's own; calendar-compare.py makes more.
command -v systemd-analyze >/dev/null || {
	echo "systemd-analyze is missing: apt-get install systemd"
	exit 77
}
exec python3 "${abs_top_srcdir:-.}/tests/lib/calendar-compare.py" --seed 1 --count 2000 \
	"${abs_top_builddir:-.}/tests/lib/calendar"
