#!/usr/bin/env bats
# SPDX-License-Identifier: LGPL-2.1-or-later
# The control socket, for a client that knows nothing of jobd, and held against the interface file.

bats_require_minimum_version 1.5.0
load ../lib/common

setup() {
	common_setup
	need python3
	netns_new
	start_jobd
}

teardown() {
	common_teardown
}

call() {
	python3 "$TESTS/lib/varlink.py" "$JOBD_SOCKET" "$@"
}

@test "GetInfo and GetInterfaceDescription: the interface file as it is" {
	call org.varlink.service.GetInfo |
		jq -e '.parameters | .product == "jobd" and (.interfaces | index("org.jobd")) and (.version | length > 0)'
	call org.varlink.service.GetInterfaceDescription '{"interface": "org.jobd"}' |
		jq -j .parameters.description | diff - "$TESTS/../common/org.jobd.varlink"
	call org.varlink.service.GetInterfaceDescription '{"interface": "org.varlink.service"}' |
		jq -e '.parameters.description | contains("interface org.varlink.service")'
}

@test "what there is not: method, interface, parameter" {
	run -0 call org.jobd.Explode
	jq -e '.error == "org.varlink.service.MethodNotFound" and .parameters.method == "org.jobd.Explode"' <<<"$output"
	run -0 call org.nobody.List
	jq -e '.error == "org.varlink.service.InterfaceNotFound" and .parameters.interface == "org.nobody"' <<<"$output"
	run -0 call org.jobd.List '{"colour": "red"}'
	jq -e '.error == "org.varlink.service.InvalidParameter" and .parameters.parameter == "colour"' <<<"$output"
	run -0 call org.jobd.List '{"limit": "many"}'
	jq -e '.error == "org.varlink.service.InvalidParameter" and .parameters.parameter == "limit"' <<<"$output"
	run -0 call org.jobd.List '{"selection": {"selectors": ["9"]}}'
	jq -e '.error == "org.jobd.NoSuchJob" and .parameters.selector == "9"' <<<"$output"
}

@test "a job by ten lines of another language: start, wait with more, list, receive, remove" {
	call org.jobd.Start '{"kind": "ping", "targets": ["127.0.0.[1-3]"], "token": "t1"}' |
		jq -e '.parameters == {"id": 1, "tasks": 3, "isNew": true}'
	# The same token is the same job
	call org.jobd.Start '{"kind": "ping", "targets": ["127.0.0.[1-3]"], "token": "t1"}' |
		jq -e '.parameters == {"id": 1, "tasks": 3, "isNew": false}'
	call org.jobd.Wait '{}' more | tail -n 1 | jq -e '.parameters | .isEnd and .succeeded == 3'
	call org.jobd.List | jq -e '.parameters.jobs[0].state == "completed"'
	call org.jobd.Receive | jq -e '[.parameters.records[].target] | sort == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]'
	# Nothing was confirmed
	call org.jobd.Receive | jq -e '.parameters.records | length == 3'
	call org.jobd.Remove '{"selection": {"selectors": ["1"]}}' | jq -e '.parameters.removed == [1]'
}

# tasks PARAMETERS [FLAG]: of job 1, as "index ..." and whether there are more, a line a reply
tasks() {
	call org.jobd.ListTasks "$(jq -c '. + {selector: "1"}' <<<"$1")" "${@:2}" |
		jq -r '.parameters | [.tasks[].index, if .hasMore then "more" else "end" end] | join(" ")'
}

@test "ListTasks: a reply has no more than limit, and whatever is asked for is told once" {
	# Tasks 5 and 2003 fail; more tasks than are looked through in a turn
	call org.jobd.Start '{"kind": "ping", "targets":
		["127.1.0.[1-5]", "240.0.0.1", "127.1.[1-8].[1-249]", "127.2.0.[1-5]", "240.0.0.2", "127.3.0.1"]}'
	run -3 jobctl wait 1
	[ "$(tasks '{"limit": 3}')" = '0 1 2 more' ]
	[ "$(tasks '{"limit": 3, "after": 2}')" = '3 4 5 more' ]
	[ "$(tasks '{"limit": 3, "after": 2000}')" = '2001 2002 2003 more' ]
	[ "$(tasks '{"limit": 1, "after": 2003}')" = '2004 end' ]
	[ "$(tasks '{"limit": 3, "after": 2004}')" = end ]
	[ "$(tasks '{"states": ["failed"]}')" = '5 2003 end' ]
	[ "$(tasks '{"states": ["failed"], "limit": 1}')" = '5 more' ]
	# That there may be others, who knows
	[[ $(tasks '{"states": ["failed"], "limit": 1, "after": 5}') == '2003 '* ]]
	[ "$(tasks '{"states": ["stopped", "queued"]}')" = end ]
	[ "$(tasks '{}')" = "$(seq -s ' ' 0 999) more" ]
	[ "$(tasks '{"limit": 1500, "after": 499}')" = "$(seq -s ' ' 500 1999) more" ]
	[ "$(tasks '{"limit": 1}' more | wc -l)" -eq 3 ]
	[ "$(tasks '{}' more | sed 's/ [a-z]*$//' | tr '\n' ' ')" = "$(seq -s ' ' 0 2004) " ]
	[ "$(tasks '{"states": ["failed"]}' more | tr '\n' ' ')" = '5 more 2003 end ' ]
	# Tasks that never began have no rows
	call org.jobd.Start '{"kind": "ping", "parallel": 1, "ping": {"count": 0}, "targets": ["127.0.0.[1-9]"]}'
	run -0 call org.jobd.ListTasks '{"selector": "2", "states": ["queued"], "limit": 4, "after": 2}'
	jq -e '.parameters | [.tasks[].index] == [3, 4, 5, 6] and .hasMore' <<<"$output"
	jobctl stop 2
	jobctl wait 2 || :
	run -0 call org.jobd.ListTasks '{"selector": "2", "states": ["stopped"], "limit": 4, "after": 6}'
	jq -e '.parameters | [.tasks[].index] == [7, 8] and (.hasMore | not)' <<<"$output"
}

# receive_all PARAMETERS: positions of all that there is, where each page is confirmed far beyond it
receive_all() {
	{
		echo "$1"
		# Each page has a job at least
		yes '{"confirm": 9223372036854775807}' | head -n 310
	} | call org.jobd.Receive - >"$BATS_TEST_TMPDIR/pages"
	jq -e -s 'last.parameters | .isEnd and .records == []' "$BATS_TEST_TMPDIR/pages" >/dev/null || return
	jq '.parameters.records[].position' "$BATS_TEST_TMPDIR/pages"
}

@test "Receive: confirmed far beyond each page every result comes once, and later ones are not hidden" {
	local parameters
	for _ in {1..300}; do jobctl start ping '127.0.0.[1-7]' >/dev/null; done
	run -0 jobctl wait
	# By jobs, and by the log of all
	for parameters in '{}' '{"cursor": "mine"}'; do
		run -0 receive_all "$parameters"
		[ "$output" = "$(seq 2100)" ]
		[ "$(jq -s 'map(select(.parameters.records != [])) | length' "$BATS_TEST_TMPDIR/pages")" -ge 3 ]
		run -0 receive_all "$parameters"
		[ -z "$output" ]
	done
	[ "$(sqlite3 "$DATABASE" 'SELECT count(*) FROM cursor WHERE job = 0 AND position BETWEEN 1000 AND 2100')" -eq 1 ]
	jobctl start ping 127.0.0.1
	run -0 jobctl wait
	for parameters in '{}' '{"cursor": "mine"}'; do
		run -0 receive_all "$parameters"
		[ "$output" = 2101 ]
	done
}

@test "Receive: a negative position is refused, and confirms nothing" {
	local cursor pages
	jobctl start ping '127.0.0.[1-3]'
	run -0 jobctl wait
	for cursor in '' mine; do
		pages=$(printf '%s\n' "{\"cursor\": \"$cursor\"}" '{"confirm": -1}' '{"confirm": 0}' | call org.jobd.Receive -)
		jq -e -s '.[1] | .error == "org.varlink.service.InvalidParameter" and .parameters.parameter == "confirm"' <<<"$pages"
		# The reading goes on
		jq -e -s '.[2].parameters.isEnd' <<<"$pages"
		call org.jobd.Receive "{\"cursor\": \"$cursor\"}" | jq -e '.parameters.records | length == 3'
	done
}

@test "oneway: done, and no word" {
	run -0 call org.jobd.Start '{"kind": "ping", "targets": ["127.0.0.1"]}' oneway
	[ -z "$output" ]
	run -0 call org.jobd.Explode '{}' oneway
	[ -z "$output" ]
	jobctl wait 1
}

@test "every reply that jobctl gets is as the interface file has it" {
	local socket=$JOBD_SOCKET
	"$top_builddir/tests/lib/varlink-proxy" "$socket.proxy" "$socket" "$BATS_TEST_TMPDIR/replies" 3>&- 4>&- &
	proxy=$!
	PIDS+=("$proxy")
	export JOBD_SOCKET=$socket.proxy
	wait_until "$BOUND" answers
	ip -n "$NETNS" route add unreachable 10.9.9.0/24
	jobctl start ping --name one 127.0.0.1 10.9.9.9
	jobctl start ping --count 60000 '127.0.0.[1-3]'
	jobctl start ssh --command 'show version' --command 'show clock' --timeout 5s 127.0.0.1:1
	wait_until "$BOUND" running_tasks 2 3
	jobctl adjust 2 --parallel 2 --rate 1000 --name two
	jobctl stop 2/127.0.0.3
	jobctl pause 2
	jobctl resume 2
	run -1 jobctl remove 2
	run -124 jobctl wait --timeout 100ms
	jobctl stop 2
	run -3 jobctl wait
	jobctl list --all --json
	jobctl show 1 2 3
	jobctl show 2/127.0.0.2
	jobctl receive --keep
	jobctl receive --cursor other one
	jobctl receive --again --failed --json
	jobctl receive --remove
	jobctl status
	run -1 jobctl show 77
	run -1 jobctl retry 77
	run -2 jobctl start ping 'r[9'
	run -2 jobctl start ping --count -1 127.0.0.1
	jobctl remove --all
	jobctl start ping --every 1h --name hourly --catch-up --keep-last 5 127.0.0.1
	jobctl start ssh --on-calendar 'Mon 06:00' 127.0.0.1:1 -- true
	jobctl start ping --at +1h 127.0.0.1
	jobctl schedules pause hourly
	jobctl schedules run hourly
	jobctl list --schedule hourly
	jobctl schedules
	jobctl schedules hourly --json
	run -1 jobctl schedules run nothing
	run -2 jobctl start ping --on-calendar nothing 127.0.0.1
	kill "$proxy"
	has_ended "$proxy"
	"$top_builddir/tests/lib/check-replies" <"$BATS_TEST_TMPDIR/replies"
	# Each of them was there
	for method in Start List ListTasks Receive Wait Stop Pause Resume Adjust Remove Retry GetStatus \
		ListSchedules ChangeSchedules; do
		grep -q "\"org.jobd.$method\"" "$BATS_TEST_TMPDIR/replies"
	done
}
