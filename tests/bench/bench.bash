# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash source-path=SCRIPTDIR disable=SC2059,SC2119
# What the benchmarks share: a part has a clean folder and a namespace of its own, a table of
# medians as ratios to its first row, and promises. Servers and jobd are started as the tests do.
set -euo pipefail

BENCH=${BASH_SOURCE[0]%/*}
RUNS=${JOBD_BENCH_RUNS:-3}
promises=0 promises_kept=0

# What the tests' library wants of bats
BATS_RUN_TMPDIR=$(mktemp -d "${TMPDIR:-/tmp}/jobd-bench.XXXXXX")
BATS_TEST_TMPDIR=$BATS_RUN_TMPDIR/part
skip() {
	echo "${0##*/}: $*" >&2
	exit 1
}
# shellcheck source=../lib/common.bash
. "$BENCH/../lib/common.bash"

# A jobd of ours has neither a service manager to tell nor a watchdog to feed
unset NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID

end_part() {
	local name status=0
	# Far sides outlive the sshd that is told to end
	for name in "${NAMESPACES[@]}"; do
		ip netns pids "$name" | xargs -r kill 2>/dev/null || :
	done
	common_teardown || status=1
	# Their numbers may be others' from now on
	PIDS=() NAMESPACES=() IN_NS=() JOBD_LOG=
	rm -rf "$BATS_TEST_TMPDIR"
	return "$status"
}
trap 'end_part; rm -rf "$BATS_RUN_TMPDIR"' EXIT
trap 'exit 130' INT TERM

[ -x "$JOBD_PROGRAM" ] ||
	skip "there is no $JOBD_PROGRAM: call this from the build folder, or set abs_top_builddir"

# part TITLE: what came before is ended first
part() {
	end_part
	printf '\n%s\n' "$1"
	mkdir -p "$BATS_TEST_TMPDIR"
	common_setup
	netns_new
}

# calculate EXPRESSION [FORMAT]: awk's arithmetic
calculate() {
	awk "BEGIN {printf \"%${2:-.2f}\", ($1)}"
}

ROW='  %8s %6s  %16s %6s  %6s  %s\n'

# table WALL_UNIT FACTOR CPU_UNIT FACTOR: the heading of rows, and what makes their units of seconds
table() {
	wall_factor=$2 cpu_factor=$4 first_wall='' first_cpu=''
	printf "$ROW" "$1" ratio "$3" ratio failed command
}

# row COMMAND [measure's OPTION...] -- WORD...: its medians; sets wall, cpu (seconds), failed (runs)
row() {
	local label=$1
	shift
	read -r wall cpu failed < <("${IN_NS[@]}" "$BENCH/measure" "$@")
	: "${first_wall:=$wall}" "${first_cpu:=$cpu}"
	printf "$ROW" "$(calculate "$wall * $wall_factor")" "$(calculate "$wall / $first_wall")" \
		"$(calculate "$cpu * $cpu_factor")" "$(calculate "$cpu / $first_cpu")" "$failed" "$label"
}

# ours LABEL WORD...: jobctl's row, jobd's CPU added
ours() {
	local label=$1
	shift
	row "$label" --runs "$RUNS" --daemon "$JOBD_PID" -- "$@"
}

# peer LABEL WORD...: one that is not installed is left out
peer() {
	local label=$1
	shift
	if command -v "$1" >/dev/null; then
		row "$label" --runs "$RUNS" -- "$@"
	else
		printf "$ROW" - - - - - "$label: $1 is not installed"
	fi
}

# hold SIGN BOUND WHAT VALUE LIMIT
hold() {
	local word=BROKEN sign=$1
	shift
	promises=$((promises + 1))
	if awk -v sign="$sign" -v value="$3" -v limit="$4" 'BEGIN {exit !(sign * value <= sign * limit)}'; then
		word=kept
		promises_kept=$((promises_kept + 1))
	fi
	printf '  %-6s  %s: %s, %s %s\n' "$word" "$2" "$3" "$1" "$4"
}

# promise WHAT VALUE LIMIT: the value is at most the limit
promise() {
	hold 1 'at most' "$@"
}

promise_at_least() {
	hold -1 'at least' "$@"
}

# The last line of a benchmark, and its exit status; `run` adds them up
summary() {
	end_part
	echo "$promises_kept of $promises promises kept"
	[ -z "${JOBD_BENCH_TALLY:-}" ] || echo "$promises_kept $promises" >>"$JOBD_BENCH_TALLY"
	[ "$promises_kept" -eq "$promises" ]
}

# memory FIELD: KiB of jobd's, VmRSS or VmHWM
memory() {
	awk -v field="$1:" '$1 == field {print $2}' "/proc/$JOBD_PID/status"
}

# unfinished: how many tasks of all jobs did not succeed
unfinished() {
	jobctl list --all --json | jq -s 'map(.tasks - .succeeded) | add'
}
