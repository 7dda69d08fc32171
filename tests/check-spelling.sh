#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# What codespell and shellcheck know better.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
status=0

files() {
	git ls-files --cached --others --exclude-standard | grep -vxE 'COPYING|README|completion/.*' |
		while read -r file; do [ ! -e "$file" ] || echo "$file"; done
}

# Shell by its name or its first line
scripts() {
	files | while read -r file; do
		case $file in
		*.bats) ;;
		*.sh | *.bash) echo "$file" ;;
		*) if head -n 1 "$file" | grep -qE '^#!.*(bash|/sh)$'; then echo "$file"; fi ;;
		esac
	done
}

# Nd is a macro of manual pages, upto a name; fo and lsit are what tests say; profiles have patterns
files | grep -v '\.profile$' | xargs codespell --ignore-words-list nd,upto,fo,lsit || status=1
scripts | xargs shellcheck --external-sources || status=1
# In tests: far shells expand what stands in single quotes; bats sets $stderr and $output, and runs
# each test in a shell of its own; common.bash reads what they set
files | grep '\.bats$' |
	xargs shellcheck --external-sources --exclude SC2016,SC2030,SC2031,SC2034,SC2119,SC2120,SC2154 || status=1
exit $status
