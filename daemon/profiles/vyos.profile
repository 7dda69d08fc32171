# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = VyOS
setup = terminal length 0
prompt = ^[[:alnum:]_-]+@[[:alnum:]_.-]+(:[^#$]*)?[#$]$
unprivileged =
noise = ^\[edit.*\]$
error = ^ *(Invalid command|Ambiguous command|Incomplete command|Configuration path)
error = (Set|Delete|Commit) failed$
recognise-banner = (VyOS|Vyatta)
