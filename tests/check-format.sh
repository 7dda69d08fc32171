#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# clang-format owns the form of C. Its versions differ a little, so that only Debian 12's judges.
set -eu
cd "${abs_top_srcdir:-$(dirname "$0")/..}"
version=14
command=$(command -v "clang-format-$version" || command -v clang-format || :)

case $($command --version 2>/dev/null) in
*" $version."*) ;;
*)
	echo "clang-format $version is missing: apt-get install clang-format-$version"
	exit 77
	;;
esac
find common daemon client tests -name '*.[ch]' -exec "$command" --dry-run -Werror {} +
