# SPDX-License-Identifier: LGPL-2.1-or-later
# What a command writes says nothing about its success; where that matters, leave --shell out.
[profile]
description = a Unix shell
terminal = vt100
setup = export PAGER=cat SYSTEMD_PAGER=cat GIT_PAGER=cat
prompt = ^[[:alnum:][(~_/].{0,120}[#$%>]$
prompt = ^[#$%>]$
unprivileged = [$%]$
enable = sudo -s
error =
recognise-version = OpenSSH.*(Debian|Ubuntu)
recognise-banner = (Debian GNU/Linux|Ubuntu|GNU/Linux comes with)
recognise-prompt = ^[[:alnum:]_.-]+@[[:alnum:]_.-]+:.*[#$]$
