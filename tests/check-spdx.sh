#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every source file names its licence in its first three lines.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"

# Prose, and what is served or read as it is, say nothing of licences
git ls-files --cached --others --exclude-standard |
	grep -vE '^(COPYING|NEWS|README|.*\.md|\.gitignore|\.clang-format|.*\.varlink)$' | {
	faults=0
	while read -r file; do
		[ -e "$file" ] || continue
		if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: LGPL-2.1-or-later'; then
			echo "$file: its licence is missing (SPDX-License-Identifier: LGPL-2.1-or-later)"
			faults=$((faults + 1))
		fi
	done
	[ "$faults" -eq 0 ]
}
