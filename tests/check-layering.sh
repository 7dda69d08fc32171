#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Includes go one way, and each library has one place (HACKING.md, "The house").
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"

exec awk '
BEGIN {
	# The floors of daemon/: a file sees its own and those below
	floor[++floors] = "config|disk-wait|fields|interface|json-text|kind|mailbox|profile(-text)?|resolver|service-text|task|timer-wheel"
	floor[++floors] = "worker|(kind|ping|ssh)-.*"
	floor[++floors] = "dispatch|store(-.*)?"
	floor[++floors] = "jobs(-.*)?|request|schedule-rule"
	floor[++floors] = "connection|method(s|-.*)|schedules|select(-.*)?|server|service|walk"
	floor[++floors] = "background|main|turn|watchdog"

	# On the same floor, and strangers to each other
	stranger["(kind-)?ping"] = "(kind-)?ssh"
	stranger["(kind-)?ssh"] = "(kind-)?ping"
	stranger["dispatch"] = "store"
	stranger["store"] = "dispatch"

	# Which files may include what of a library
	place["sqlite3\\.h"] = "daemon/store-internal\\.h"
	place["libssh/"] = "daemon/(kind-ssh|ssh-).*"
	place["(netinet/ip_icmp|netinet/icmp6|linux/icmp)"] = "daemon/ping-.*"
	place["systemd/"] = "daemon/(main|watchdog)\\.c"
	place["event2/"] = "daemon/.*"
	place["pthread\\.h"] = "daemon/(mailbox\\.h|worker\\.c|resolver\\.c|ssh-agent\\.c|watchdog\\.c)"
	place["openssl/"] = "daemon/ssh-known-hosts\\.c"
	place["ini\\.h"] = "daemon/(config|profile)\\.c"
	place["libsmartcols/"] = "client/render\\.c"
	place["ncurses\\.h"] = "client/screen\\.c"
	json = "common/(json-plain|protocol)\\..|client/.*|daemon/(connection|fields|interface|jobs|jobs-control|json-text|kind|kind-.*|main|method(s|-.*)|request|schedules|select(-parts)?|server|service|walk)\\.."
}

function fault(what) {
	printf "%s:%d: %s\n", FILENAME, FNR, what
	faults++
}

function floor_of(module,   i) {
	for (i = 1; i <= floors; i++)
		if (module ~ "^(" floor[i] ")$")
			return i
	return 0
}

function module_of(path) {
	sub(/.*\//, "", path)
	sub(/\.[ch]$/, "", path)
	return path
}

FNR == 1 {
	files++
	room = FILENAME
	sub(/\/.*/, "", room)
	module = module_of(FILENAME)
	mine = floor_of(module)
	if (room == "daemon" && !mine)
		fault("stands on no floor: give it its place in tests/check-layering.sh")
}

/^#include "/ {
	split($2, part, "\"")
	other_room = other = part[2]
	sub(/\/.*/, "", other_room)
	other = module_of(other)
	if (other_room != room && other_room != "common")
		fault(room "/ never includes " other_room "/")
	if (other ~ /-internal$/ && index(module, substr(other, 1, length(other) - 9)) != 1)
		fault(other ".h is for the files of its own module")
	if (room == "daemon" && other_room == "daemon") {
		if (floor_of(other) > mine)
			fault(module " stands below " other)
		for (one in stranger)
			if (module ~ "^" one "(-|$)" && other ~ "^" stranger[one] "(-|$)")
				fault(module " knows nothing of " other)
	}
}

/^#include </ {
	for (library in place)
		if ($2 ~ "^<" library && FILENAME !~ "^" place[library] "$")
			fault("the place of " $2 " is " place[library])
}

# Trees of values; what json-text writes is but text
{
	code = $0
	gsub(/json_text/, "", code)
	if (code ~ /(^|[^a-z_])json_[a-z]/ && FILENAME !~ "^(" json ")$")
		fault("JSON belongs at the edges")
}

END {
	printf "%d files, %d faults\n", files, faults
	exit faults > 0
}
' common/*.[ch] daemon/*.[ch] client/*.[ch]
