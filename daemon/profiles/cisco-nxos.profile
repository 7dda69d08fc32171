# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Cisco NX-OS
setup = terminal length 0
setup = terminal width 511
prompt = ^[[:alnum:]_.:/-]+(\([^)]*\))?[#>]$
error = ^% ?(Invalid|Incomplete|Ambiguous|Unknown|Permission)
error = ^(Invalid command|Syntax error|ERROR:)
recognise-banner = Nexus Operating System
recognise-banner = NX-OS
