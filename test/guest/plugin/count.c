/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU plug-in: how many instructions the guest has executed, in user space and in its kernel,
 * always readable in a file: two 64-bit counters.
 *
 *   -plugin count.so,counts=PATH
 *
 * A block is counted when it is entered. A string instruction with REP is one instruction, however
 * often it repeats: QEMU runs each repetition as a block of its own.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <qemu-plugin.h>

#define ARG "counts="

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static uint64_t *count; /* user space, kernel */

/* movs, cmps, stos, lods or scas behind a repeat prefix; other prefixes may stand between. */
static bool
is_rep(const struct qemu_plugin_insn *insn)
{
	const uint8_t *b = qemu_plugin_insn_data(insn);
	size_t len = qemu_plugin_insn_size(insn), i = 0;
	bool rep = false;

	while (i < len && (b[i] == 0xF2 || b[i] == 0xF3 || b[i] == 0x66 || b[i] >> 4 == 4)) {
		rep |= b[i] == 0xF2 || b[i] == 0xF3;
		i++;
	}
	return rep && i < len && b[i] >= 0xA4 && b[i] <= 0xAF && b[i] != 0xA8 && b[i] != 0xA9;
}

static void
on_block(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	bool kernel = qemu_plugin_tb_vaddr(tb) >> 63;
	size_t n = qemu_plugin_tb_n_insns(tb);

	(void)id;
	if (is_rep(qemu_plugin_tb_get_insn(tb, 0)))
		n--;
	if (n != 0)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64,
							 &count[kernel], n);
}

QEMU_PLUGIN_EXPORT int
qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
	int fd;

	(void)info;
	if (argc != 1 || strncmp(argv[0], ARG, strlen(ARG)) != 0) {
		fprintf(stderr, "count: counts=PATH is missing\n");
		return -1;
	}
	fd = open(argv[0] + strlen(ARG), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 2 * sizeof(*count)) != 0) {
		perror(argv[0]);
		return -1;
	}
	count = mmap(NULL, 2 * sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (count == MAP_FAILED) {
		perror(argv[0]);
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_block);
	return 0;
}
