# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Cisco IOS XR
setup = terminal length 0
setup = terminal width 511
prompt = ^RP/[0-9]+/[[:alnum:]]+/[[:alnum:]]+:[^[:blank:]]+#$
unprivileged =
# Each command's output begins with the time
noise = ^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) [A-Z][a-z][a-z] +[0-9]+ [0-9:.]+ [A-Z]+$
error = ^% ?(Invalid|Incomplete|Ambiguous|Unknown|Permission|Failed)
recognise-prompt = ^RP/[0-9]+/[[:alnum:]]+/[[:alnum:]]+:
