# SPDX-License-Identifier: LGPL-2.1-or-later
# vtysh, and the shells of the daemons themselves
[profile]
description = FRRouting
setup = terminal length 0
prompt = ^[[:alnum:]_.:-]+(\([^)]*\))?[#>]$
error = ^% ?(\[[A-Z]+\] )?(Invalid|Incomplete|Ambiguous|Unknown|There is no|Command incomplete|Can't)
recognise-banner = Hello, this is (FRRouting|Quagga)
