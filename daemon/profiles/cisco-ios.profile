# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Cisco IOS and IOS XE
setup = terminal length 0
setup = terminal width 511
prompt = ^[[:alnum:]_.:/-]+(\([^)]*\))?[#>]$
error = ^% ?(Invalid|Incomplete|Ambiguous|Unknown|Unrecognized|Bad|Permission|Authorization|Access)
error = ^Command authorization failed
recognise-version = -Cisco-
