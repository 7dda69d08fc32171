# SPDX-License-Identifier: LGPL-2.1-or-later
# The classic shell and the one of models: each takes its own of the two setups
[profile]
description = Nokia SR OS
setup = environment no more
setup = environment more false
prompt = ^\*?[A-Z]:[^[:blank:]]+[#>$]$
unprivileged =
noise = ^(\([a-z]+\))?[!*]*\[(/|ex:|gl:|pr:|ro:).*\]$
error = ^(Error:|MINOR:|MAJOR:|CRITICAL:|Bad command)
recognise-banner = TiMOS
recognise-prompt = ^\*?[A-Z]:[^[:blank:]]+[#>]$
