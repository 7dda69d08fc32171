# SPDX-License-Identifier: LGPL-2.1-or-later
# The suffix of the login name asks for a shell without colours, without questions to the terminal,
# and as wide as ours (RouterOS manual, "Console login process").
[profile]
description = MikroTik RouterOS
login-suffix = +cte511w1000h
prompt = ^\[[^]]+@[^]]+\] (/[^>]*|<SAFE>)?>( <SAFE>)?$
unprivileged =
pager = ^-- \[.*[Qq] quit
pager-key = d
answer = ^Do you want to see the software license\? \[Y/n\]:?$=n
error = ^(bad command name|syntax error|expected |failure:|input does not match|no such item)
error = ^(invalid value|ambiguous value|missing value)
recognise-version = ROSSSH
recognise-prompt = ^\[[^]]+@[^]]+\] >$
