/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/lib/ping-box.h"

#include "common/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum { SKIPPED = 77 };

static pid_t router;

/* --- The program that answers at 10.5.0.0/16 --- */

static uint16_t checksum(const unsigned char *bytes, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += i % 2 == 0 ? (uint32_t)bytes[i] << 8 : bytes[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void send_reply(int fd, const struct iphdr *request, const unsigned char *icmp, size_t size,
		       in_addr_t source)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = request->saddr};
	unsigned char packet[2048] = {0};
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.ttl = 61,
		.protocol = IPPROTO_ICMP,
		.saddr = source,
		.daddr = request->saddr,
	};
	uint16_t sum;

	memcpy(packet, &ip, sizeof(ip));
	memcpy(packet + sizeof(ip), icmp, size);
	packet[sizeof(ip)] = ICMP_ECHOREPLY;
	packet[sizeof(ip) + 2] = packet[sizeof(ip) + 3] = 0;
	sum = htons(checksum(packet + sizeof(ip), size));
	memcpy(packet + sizeof(ip) + 2, &sum, sizeof(sum));
	if (sendto(fd, packet, sizeof(ip) + size, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		perror("ping-box: sendto");
}

static void answer(int fd, unsigned char *packet, size_t size, unsigned count)
{
	static unsigned char held[2048];
	static size_t held_size;
	struct iphdr ip;
	unsigned char *icmp = packet + sizeof(ip);
	in_addr_t source;

	memcpy(&ip, packet, sizeof(ip));
	source = ip.daddr;
	size -= sizeof(ip);
	switch ((enum box_habit)(ntohl(ip.daddr) & 0xff)) {
	case BOX_TWICE:
		send_reply(fd, &ip, icmp, size, source);
		break;
	case BOX_OTHER_SOURCE:
		source = htonl(0x0a0500c8);
		break;
	case BOX_WRONG_COOKIE:
		icmp[8] ^= 1;
		break;
	case BOX_NO_COOKIE:
		size = 8;
		break;
	case BOX_WRONG_SEQUENCE:
		icmp[7]++;
		break;
	case BOX_WRONG_ID:
		icmp[5] ^= 2;
		break;
	case BOX_LATE:
		if (fork() != 0)
			return;
		(void)nanosleep(&(struct timespec){0, 300000000}, NULL);
		send_reply(fd, &ip, icmp, size, source);
		_exit(0);
	case BOX_EVERY_OTHER:
		if (count % 2 == 0)
			return;
		break;
	case BOX_SHORT:
		size = 8 + 16;
		break;
	case BOX_SWAPPED:
		if (held_size == 0) {
			memcpy(held, icmp, size);
			held_size = size;
			return;
		}
		send_reply(fd, &ip, icmp, size, source);
		memcpy(icmp, held, held_size);
		size = held_size;
		held_size = 0;
		break;
	}
	send_reply(fd, &ip, icmp, size, source);
}

static void run_program(void)
{
	int in = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	int out = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	unsigned count = 0;

	(void)signal(SIGCHLD, SIG_IGN); /* nobody waits for who answers late */
	while (in >= 0 && out >= 0) {
		unsigned char packet[2048];
		ssize_t size = recv(in, packet, sizeof(packet), 0);

		if (size >= 28 && packet[16] == 10 && packet[17] == 5 && packet[20] == ICMP_ECHO)
			answer(out, packet, (size_t)size, ++count);
	}
}

/* --- The networks --- */

/* Each line is a command; the first that fails ends it. */
static bool run_script(const char *script)
{
	autofree char *command = xasprintf("set -e\n%s", script);

	return system(command) == 0;
}

static bool build_inside(void)
{
	autofree char *link = xasprintf("ip link set box1 netns %d", (int)router);

	return run_script("exec 2>&1\n"
			  "ip link set lo up\n"
			  "ip route add unreachable 10.1.0.0/16\n"
			  "ip route add prohibit 10.2.0.0/16\n"
			  "ip route add blackhole 10.3.0.0/16\n"
			  "ip route add unreachable 2001:db8:f1::/48\n"
			  "ip route add prohibit 2001:db8:f2::/48\n"
			  "ip route add blackhole 2001:db8:f3::/48\n"
			  "ip link add box0 type veth peer name box1\n") &&
	       run_script(link) &&
	       run_script("ip address add 192.0.2.1/24 dev box0\n"
			  "ip -6 address add 2001:db8::1/64 dev box0 nodad\n"
			  "ip link set box0 up\n"
			  "for net in 198.51.100.0/24 203.0.113.0/24 10.4.0.0/16 10.5.0.0/16 "
			  "10.6.0.0/16\n"
			  "do ip route add $net via 192.0.2.2; done\n"
			  "ip route add 2001:db8:1::/48 via 2001:db8::2\n"
			  "ip route add 2001:db8:2::/48 via 2001:db8::2\n"
			  "nft add table ip box\n"
			  "nft 'add chain ip box out { type filter hook output priority 0; }'\n"
			  "nft add rule ip box out ip daddr 10.4.0.0/16 drop\n"
			  "nft 'add chain ip box in { type filter hook input priority 0; }'\n"
			  "nft add rule ip box in ip daddr 127.5.0.0/16 drop\n");
}

static bool build_router(void)
{
	return run_script(
		"ip link set lo up\n"
		"ip address add 192.0.2.2/24 dev box1\n"
		"ip -6 address add 2001:db8::2/64 dev box1 nodad\n"
		"ip link set box1 up\n"
		"echo 1 > /proc/sys/net/ipv4/ip_forward\n"
		"echo 1 > /proc/sys/net/ipv6/conf/all/forwarding\n"
		"echo 0 > /proc/sys/net/ipv4/icmp_ratemask\n"
		"echo 0 > /proc/sys/net/ipv6/icmp/ratelimit\n"
		"ip route add unreachable 198.51.100.0/25\n"
		"ip route add prohibit 198.51.100.128/25\n"
		"ip route add unreachable 2001:db8:1::/48\n"
		"ip route add prohibit 2001:db8:2::/48\n"
		"ip link add narrow type veth peer name dark\n"
		"ip link set narrow mtu 1000 up\n"
		"ip route add 203.0.113.0/24 dev narrow\n"
		"ip route add 10.6.0.0/16 dev narrow\n"
		"ip route add local 10.5.0.0/16 dev lo\n"
		"nft add table ip box\n"
		"nft 'add chain ip box out { type filter hook output priority 0; }'\n"
		"nft add rule ip box out ip saddr 10.5.0.0/16 icmp type echo-reply "
		"ip ttl 64 drop\n"
		"nft 'add chain ip box through { type filter hook forward priority 0; }'\n"
		"nft add rule ip box through ip daddr 10.6.0.0/16 "
		"reject with icmp type host-prohibited\n");
}

static void wait_for_line(int fd)
{
	char byte;

	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
}

/* The child: a namespace, then (once its end of the link has arrived) the networks behind it. */
static void be_router(int from_parent, int to_parent)
{
	bool is_built;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWNET) < 0)
		_exit(1);
	if (write(to_parent, "n", 1) != 1)
		_exit(1);
	wait_for_line(from_parent);
	is_built = build_router();
	if (write(to_parent, is_built ? "y" : "n", 1) != 1 || !is_built)
		_exit(1);
	run_program();
	_exit(1);
}

static int skip(const char *why)
{
	(void)fprintf(stderr, "skipped: %s\n", why);
	ping_box_leave();
	return SKIPPED;
}

int ping_box_enter(void)
{
	int down[2], up[2];
	char is_built = 'n';

	if (geteuid() != 0)
		return skip("network namespaces need root");
	if (system("ip -V >/dev/null 2>&1 && nft -v >/dev/null 2>&1") != 0)
		return skip("iproute2 or nftables is missing");
	if (pipe(down) < 0 || pipe(up) < 0 || unshare(CLONE_NEWNET) < 0)
		return skip("no network namespace can be made");
	router = fork();
	if (router == 0)
		be_router(down[0], up[1]);
	(void)close(down[0]);
	(void)close(up[1]);
	wait_for_line(up[0]);
	if (!build_inside())
		return skip("the network of the test cannot be built");
	if (write(down[1], "n", 1) != 1 || read(up[0], &is_built, 1) != 1 || is_built != 'y')
		return skip("the router of the test cannot be built");
	(void)close(down[1]);
	(void)close(up[0]);
	return 0;
}

static bool set_range(const char *range)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ping_group_range", "we");
	bool is_written = file && fputs(range, file) >= 0;

	return file && fclose(file) == 0 && is_written;
}

static bool set_raw_allowed(bool is_allowed)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	data[0].effective &= ~(UINT32_C(1) << CAP_NET_RAW);
	if (is_allowed)
		data[0].effective |= UINT32_C(1) << CAP_NET_RAW;
	return syscall(SYS_capset, &header, data) == 0;
}

bool ping_box_allow(bool raw, bool datagram)
{
	return set_raw_allowed(raw) && set_range(datagram ? "0 0" : "1 0");
}

void ping_box_leave(void)
{
	if (router > 0 && kill(router, SIGKILL) == 0)
		(void)waitpid(router, NULL, 0);
	router = 0;
}
