# SPDX-License-Identifier: LGPL-2.1-or-later
# What every other profile falls back to, word for word: a word that a profile has itself counts
# alone, one that it has not counts as it stands here.
[profile]
description = any shell with a prompt
terminal = dumb
enter = \r
pager-key = \x20
enable = enable

prompt = ^[[:alnum:]<[(~_/].{0,120}[#>$%]$
prompt = ^[#>$%]$
unprivileged = >$
username = ([Uu]ser ?[Nn]ame|[Ll]ogin|[Uu]ser)( [Nn]ame)? ?:$
password = [Pp]ass(word|code|phrase)[^:]*:$
pager = -- ?\(?[Mm](ore|ORE)( [0-9]+%)?\)? ?--+( \(.*\))?$
pager = <-+ ?[Mm]ore ?-+>$
pager = -- MORE --, next page
pager = [Pp]ress any key to (continue|page)
question = [[(]([Yy]|[Yy]es|YES)/([Nn]|[Nn]o|NO)(/[^])]*)?[])] ?:?\??$
question = \[confirm\]$
question = \?$
question = [Pp]ass(word|code|phrase)[^:]*:$
answer = [Pp]ress (RETURN|ENTER|[Rr]eturn|[Ee]nter|<[Ee]nter>)=

error = ^% ?(Invalid|Incomplete|Ambiguous|Unknown|Unrecognized|Bad|Permission|Authorization)
error = ^(ERROR|Error):
error = ^([Ii]nvalid|[Uu]nknown|[Uu]nrecognized) (input|command)
error = [Ss]yntax error
