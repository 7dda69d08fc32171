#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# No function over 80 lines, no file over 700; says the medians as well.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
function_max=80
file_max=700

median() {
	sort -n | awk '{line[NR] = $1} END {print line[int((NR + 1) / 2)]}'
}

# Lines of each function, then its place
functions=$(ctags -f - --languages=C --langmap=C:.c.h --kinds-C=f --fields=+ne \
	-R common daemon client tests | awk -F '\t' '{
	for (i = 4; i <= NF; i++) {
		if ($i ~ /^line:/)
			first = substr($i, 6)
		if ($i ~ /^end:/)
			last = substr($i, 5)
	}
	print last - first + 1, $2 ":" first ": " $1
}')
files=$(find common daemon client tests -name '*.[ch]' -exec wc -l {} + | grep -v ' total$')

echo "median function: $(echo "$functions" | median) lines; median file: $(echo "$files" | median) lines"
! {
	echo "$functions" | awk -v max=$function_max '$1 > max {print $2, $3, "has", $1, "lines, more than", max}'
	echo "$files" | awk -v max=$file_max '$1 > max {print $2, "has", $1, "lines, more than", max}'
} | grep .
