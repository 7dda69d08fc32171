#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The manual pages are in order, and name every command, option and setting there is, and no other.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
programs=${abs_top_builddir:-.}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# same WHAT: $work/there (what the programs know) and $work/said (what the page says)
same() {
	sort -u -o "$work/there" "$work/there"
	sort -u -o "$work/said" "$work/said"
	comm -23 "$work/there" "$work/said" | sed "s|^|$1: nothing is said of |" >"$work/faults"
	comm -13 "$work/there" "$work/said" | sed "s|^|$1: there is no |" >>"$work/faults"
	[ ! -s "$work/faults" ] || {
		cat "$work/faults"
		status=1
	}
}

# The options that stand as heads of items: .It Fl -name Ar X , Fl 4 ,
page_options() {
	sed -n 's/^\.It Fl //p' "$1" | sed 's/ , Fl /\n/g' | sed 's/ .*//; s/^/-/'
}

if command -v mandoc >/dev/null; then
	pages="client/jobctl.1 daemon/jobd.8 daemon/jobd.conf.5 daemon/jobd.profile.5"
	# shellcheck disable=SC2086
	mandoc -T lint -W warning $pages || status=1
	# A sign that mdoc takes for punctuation slips out of its quotes
	# shellcheck disable=SC2086
	if mandoc -T utf8 $pages | grep -n -e "‘’" -e "’’" -e '“”'; then
		echo "nothing, or too little, is quoted there: write \\&; for ;"
		status=1
	fi
else
	echo "mandoc is missing: apt-get install mandoc"
	exit 77
fi

"$programs/jobctl" --dump-options >"$work/rows"
awk -F '\t' '$2 == "" {print $1}' "$work/rows" >"$work/there"
sed -n 's/^\.Ss //p' client/jobctl.1 | sed 's/ .*//; s/,$//' >"$work/said"
same 'jobctl.1, commands'

# Options of one letter have a long twin in the tables: --4 is -4
awk -F '\t' '$2 != "" {sub(/^--4$/, "-4", $2); sub(/^--6$/, "-6", $2); print $2}' "$work/rows" >"$work/there"
page_options client/jobctl.1 >"$work/said"
same 'jobctl.1, options'

"$programs/jobd" --help | sed -n 's/^  \(--[a-z-]*\).*/\1/p' >"$work/there"
page_options daemon/jobd.8 >"$work/said"
same 'jobd.8, options'

{
	sed -n '/define CONFIG_SETTINGS/,/^$/s/.*X([a-z_]*, "\([a-z-]*\)".*/\1/p' daemon/config.h
	echo admin-group
	echo log-level
} >"$work/there"
sed -n '/^\.Ss \[jobd\]/,/^\.El/s/^\.It Cm //p' daemon/jobd.conf.5 >"$work/said"
same 'jobd.conf.5, settings'

sed -n '/define PROFILE_/,/^$/s/.*X([A-Z_]*, "\([a-z-]*\)".*/\1/p' daemon/profile.h >"$work/there"
printf '%s\n' setup answer >>"$work/there"
sed -n 's/^\.It Cm //p' daemon/jobd.profile.5 | sed 's/ , /\n/g' >"$work/said"
same 'jobd.profile.5, words'
exit $status
