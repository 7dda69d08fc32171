#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Writes texts as C strings:
#   embed-text.sh text NAME HEADER <TEXT >FILE.c        one
#   embed-text.sh table NAME HEADER TEXT... >FILE.c     names (files without folder and suffix) and
#                                                       texts in turn, NULL at the end
set -eu

tab=$(printf '\t')
embed() {
	sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$tab/\\\\t/g" -e "s/^/$tab\"/" -e 's/$/\\n"/'
}

form=$1 name=$2 header=$3
shift 3
printf '/* Made by make from text files; do not edit. */\n#include "%s"\n\n' "$header"
if [ "$form" = text ]; then
	printf 'const char %s[] =\n' "$name"
	embed
	printf '\t"";\n'
else
	printf 'const char *const %s[] = {\n' "$name"
	for file in "$@"; do
		base=${file##*/}
		printf '\t"%s",\n' "${base%.*}"
		embed <"$file"
		printf '\t,\n'
	done
	printf '\t0};\n'
fi
