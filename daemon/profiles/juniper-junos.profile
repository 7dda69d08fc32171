# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Juniper Junos
setup = set cli screen-length 0
setup = set cli screen-width 511
setup = set cli complete-on-space off
prompt = ^[[:alnum:]_.-]+@[[:alnum:]_.:-]+[>#%]$
unprivileged =
# Who is master, and where in the configuration one is: lines above the prompt
noise = ^\{(master|backup|linecard|primary|secondary)(:(node)?[0-9]+)?\}(\[edit.*\])?$
noise = ^\[edit.*\]$
error = ^(error:|syntax error|unknown command|missing (mandatory )?argument)
error = ^ *'.*' is ambiguous
recognise-banner = JUNOS
recognise-prompt = ^[[:alnum:]_.-]+@[[:alnum:]_.:-]+>$
