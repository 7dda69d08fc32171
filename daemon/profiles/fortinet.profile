# SPDX-License-Identifier: LGPL-2.1-or-later
# Its pager is switched off in the configuration only, so that it is answered.
[profile]
description = Fortinet FortiOS
prompt = ^[[:alnum:]_.-]+( \([^)]*\))? [#$]$
unprivileged =
answer = Press 'a' to accept.*=a
error = ^(Unknown action|[Cc]ommand parse error|[Cc]ommand fail|object check operator error)
recognise-prompt = ^[[:alnum:]_.-]+ [#$]$
