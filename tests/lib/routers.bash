# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# FRRouting routers in the test's namespace: r1, r2, ... at 127.1.0.1, 127.1.0.2, ..., each a zebra
# with its own VTY (password "vtypw", enable password "enpw") and a vtysh of its own.

ROUTERS=()

# start_routers COUNT: after netns_new
start_routers() {
	need vtysh
	local i name
	ROUTER_PREFIX=jobd$$r
	for i in $(seq "$1"); do
		name=$ROUTER_PREFIX$i
		mkdir -p "/run/frr/$name" "/etc/frr/$name"
		printf 'hostname r%s\n' "$i" >"/etc/frr/$name/vtysh.conf"
		printf 'hostname r%s\npassword vtypw\nenable password enpw\n' "$i" >"/etc/frr/$name/zebra.conf"
		chown -R frr:frr "/run/frr/$name" "/etc/frr/$name"
		ROUTERS+=("$name")
		"${IN_NS[@]}" /usr/lib/frr/zebra -d -N "$name" -A "127.1.0.$i" -P 2601 \
			-f "/etc/frr/$name/zebra.conf" -i "/run/frr/$name/zebra.pid" >/dev/null 2>&1 3>&- 4>&-
	done
	for i in $(seq "$1"); do
		wait_until "$BOUND" test -S "/run/frr/$ROUTER_PREFIX$i/zebra.vty"
	done
}

stop_routers() {
	local name pid
	for name in "${ROUTERS[@]}"; do
		pid=$(cat "/run/frr/$name/zebra.pid" 2>/dev/null) || continue
		kill "$pid"
		wait_until 10 gone "$pid" || kill -KILL "$pid"
	done
	for name in "${ROUTERS[@]}"; do
		rm -rf "/run/frr/$name" "/etc/frr/$name"
	done
	ROUTERS=()
}

# The two sshd of all routers: at SSH_PORT their vtysh, as exec and as shell; at VTY_PORT the VTY of
# the daemon itself
# shellcheck disable=SC2016,SC2034 # the scripts expand it; the tests use it
start_router_sshd() {
	printf '#!/bin/sh\ni=${SSH_CONNECTION%% *}; i=${SSH_CONNECTION#* * 127.1.0.}; i=${i%%%% *}\n' >"$BATS_TEST_TMPDIR/vtysh"
	cp "$BATS_TEST_TMPDIR/vtysh" "$BATS_TEST_TMPDIR/vty"
	cat >>"$BATS_TEST_TMPDIR/vtysh" <<-END
		if [ -n "\$SSH_ORIGINAL_COMMAND" ]; then
			exec vtysh -N $ROUTER_PREFIX\$i -c "\$SSH_ORIGINAL_COMMAND"
		fi
		exec vtysh -N $ROUTER_PREFIX\$i
	END
	echo 'exec telnet -E 127.1.0.$i 2601' >>"$BATS_TEST_TMPDIR/vty"
	chmod +x "$BATS_TEST_TMPDIR/vtysh" "$BATS_TEST_TMPDIR/vty"
	start_sshd "ForceCommand $BATS_TEST_TMPDIR/vty" "PrintMotd no" "PrintLastLog no"
	VTY_PORT=$SSH_PORT
	start_sshd "ForceCommand $BATS_TEST_TMPDIR/vtysh" "PrintMotd no" "PrintLastLog no"
}
