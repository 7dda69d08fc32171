# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = HP ProCurve and ArubaOS-Switch
setup = no page
prompt = ^[[:alnum:]_.:/-]+( ?\([^)]*\))?[#>]$
answer = [Pp]ress any key to continue=
error = ^(Invalid input|Incomplete input|Ambiguous input|Unable to|Error setting)
recognise-version = Mocana
recognise-banner = (ProCurve|ArubaOS-Switch|Hewlett.Packard|HP [A-Z]?[0-9]+.* Switch)
