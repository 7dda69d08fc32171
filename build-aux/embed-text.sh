#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Writes a text as a C string: embed-text.sh NAME HEADER <TEXT >FILE.c
set -eu

tab=$(printf '\t')
printf '/* Made by make from a text file; do not edit. */\n'
printf '#include "%s"\n\nconst char %s[] =\n' "$2" "$1"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e "s/$tab/\\\\t/g" -e "s/^/$tab\"/" -e 's/$/\\n"/'
printf '\t"";\n'
