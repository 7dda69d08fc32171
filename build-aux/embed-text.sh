#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Writes a text file as a C string: embed-text.sh NAME HEADER < FILE > FILE.c
set -eu
printf '/* Made by make; do not edit. */\n#include "%s"\n\nconst char %s[] =\n' "$2" "$1"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/\t/\\t/g' -e 's/^/\t"/' -e 's/$/\\n"/'
printf '\t"";\n'
