#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Writes a shell's completion of jobctl from the tables of jobctl itself:
#   make-completion.sh bash|zsh|fish JOBCTL
set -eu
shell=$1
rows=$("$2" --dump-options)
commands=$(printf '%s\n' "$rows" | cut -f1 | uniq | tr '\n' ' ')
say() {
	printf '%s\n' "$*"
}

# options COMMAND: the names, with blanks between
options() {
	printf '%s\n' "$rows" | awk -F '\t' -v c="$1" '$1 == c && $2 != "" {printf "%s ", $2}'
}

# valued COMMAND: those of them that take a value
valued() {
	printf '%s\n' "$rows" | awk -F '\t' -v c="$1" '$1 == c && $2 != "" && $3 != "" {printf "%s ", $2}'
}

arguments() {
	printf '%s\n' "$rows" | awk -F '\t' -v c="$1" '$1 == c && $2 == "" {print $3}'
}

case $shell in
bash)
	say "# SPDX-License-Identifier: LGPL-2.1-or-later"
	say "# Made by \`make completion\` from the tables of jobctl."
	say "_jobctl()"
	say "{"
	say "	local cur=\${COMP_WORDS[COMP_CWORD]} words= options= valued="
	say "	if ((COMP_CWORD == 1)); then"
	say "		mapfile -t COMPREPLY < <(compgen -W '$commands' -- \"\$cur\")"
	say "		return"
	say "	fi"
	say "	case \${COMP_WORDS[1]} in"
	for command in $commands; do
		say "	$command)"
		say "		options='$(options "$command")'"
		say "		valued=' $(valued "$command")'"
		case $command,$(arguments "$command") in
		start,*) say "		((COMP_CWORD == 2)) && words='ping ssh' || words=\$options" ;;
		schedules,*) say "		words=\"pause resume run remove \$(_jobctl_ids s schedules)\"" ;;
		*ID* | *JOB* | *SELECTOR*) say "		words=\$(_jobctl_ids '' list)" ;;
		esac
		say "		;;"
	done
	say "	esac"
	# What an option wants is no job; where there are no words, bash takes files
	say "	[[ \$valued != *\" \${COMP_WORDS[COMP_CWORD-1]} \"* ]] || words="
	say "	[[ \$cur != -* ]] || words=\$options"
	say "	mapfile -t COMPREPLY < <(compgen -W \"\$words\" -- \"\$cur\")"
	say "}"
	# Whoever presses a key wants no daemon started
	say "_jobctl_ids()"
	say "{"
	say "	JOBD=/dev/null jobctl \"\$2\" --json 2>/dev/null | sed -n \"s/^{\\\"id\\\":\\([0-9]*\\).*/\$1\\1/p\""
	say "}"
	say "complete -o default -F _jobctl jobctl"
	;;
zsh)
	say "#compdef jobctl"
	say "# SPDX-License-Identifier: LGPL-2.1-or-later"
	say "# Made by \`make completion\` from the tables of jobctl."
	say "if ((CURRENT == 2)); then"
	say "	_values command \\"
	printf '%s\n' "$rows" | awk -F '\t' -v q="'" '$2 == "" {
		gsub(/\[|\]/, "", $4)
		gsub(q, "", $4)
		printf "\t\t%s%s[%s]%s \\\n", q, $1, $4, q
	}'
	say ""
	say "	return"
	say "fi"
	say "case \$words[2] in"
	for command in $commands; do
		say "$command)"
		say "	_arguments \\"
		printf '%s\n' "$rows" | awk -F '\t' -v c="$command" -v q="'" '$1 == c && $2 != "" {
			gsub(/\[|\]|:/, "", $4)
			gsub(q, "", $4)
			gsub(/[:|%]/, " ", $3)
			printf "\t\t%s%s[%s]%s%s \\\n", q, $2, $4, $3 == "" ? "" : ":" $3 ":", q
		}'
		say "		'*: :_files'"
		say "	;;"
	done
	say "esac"
	;;
fish)
	say "# SPDX-License-Identifier: LGPL-2.1-or-later"
	say "# Made by \`make completion\` from the tables of jobctl."
	printf '%s\n' "$rows" | awk -F '\t' -v q="'" '{
		gsub(q, "", $4)
		if ($2 == "")
			printf "complete -c jobctl -n __fish_use_subcommand -f -a %s -d %s%s%s\n", $1, q, $4, q
		else
			printf "complete -c jobctl -n %s__fish_seen_subcommand_from %s%s -l %s%s -d %s%s%s\n",
				q, $1, q, substr($2, 3), $3 == "" ? "" : " -r", q, $4, q
	}'
	say "complete -c jobctl -n '__fish_seen_subcommand_from start' -f -a 'ping ssh'"
	;;
esac
