# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Cisco ASA
setup = terminal pager 0
prompt = ^[[:alnum:]_./-]+(\([^)]*\))?[#>]$
error = ^(ERROR:|% ?(Invalid|Incomplete|Ambiguous|Unknown))
error = ^Command authorization failed
recognise-banner = Type help or '\?' for a list of available commands
