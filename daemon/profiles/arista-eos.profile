# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Arista EOS
setup = terminal length 0
setup = terminal width 32767
prompt = ^[[:alnum:]_.:/-]+(\([^)]*\))?[#>]$
error = ^% ?[A-Z]
recognise-banner = Arista
