#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# The completions are what jobctl's tables make of them now.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
jobctl=${abs_top_builddir:-.}/jobctl
status=0

for row in bash:jobctl zsh:_jobctl fish:jobctl.fish; do
	file=completion/${row#*:}
	sh build-aux/make-completion.sh "${row%:*}" "$jobctl" | diff -u "$file" - || {
		echo "$file is not of today: make completion"
		status=1
	}
done
exit $status
