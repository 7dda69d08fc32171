# SPDX-License-Identifier: LGPL-2.1-or-later
[profile]
description = Huawei VRP
setup = screen-length 0 temporary
prompt = ^(<[^>]+>|\[[~*]?[^]]+\])$
unprivileged =
# A password that is about to expire is changed by people
answer = ([Cc]hange (it )?now|be changed).*\[Y/N\] ?:?$=N
error = ^ *Error ?:
recognise-version = HUAWEI
recognise-banner = Info: The max number of VTY users
recognise-prompt = ^<[^>]+>$
