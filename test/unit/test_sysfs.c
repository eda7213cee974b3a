/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The sysfs reader on trees recorded from Linux 6.1 and 6.12 (test/data/sysfs): one line per
 * entry, "D path", "F mode size path = content" with | for newline, "L path -> target".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <unistd.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "vmbus_sysfs.h"
#include "vmbus_wire.h"

#define NAME "0000155d-0203-4d01-9a1c-00155d010203"

static char root[] = "/tmp/hv-sysfs-XXXXXX";

static int
remove_entry(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void
write_file(const char *rel, const char *content)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", root, NAME, rel);
	f = fopen(path, "w");
	assert_non_null(f);
	for (; *content != '\0'; content++)
		fputc(*content == '|' ? '\n' : *content, f);
	assert_int_equal(fclose(f), 0);
}

static void
remove_file(const char *rel)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/%s", root, NAME, rel);
	if (nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS) != 0)
		assert_int_equal(errno, ENOENT);
}

static void
make_dir(const char *rel)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s/%s", root, NAME, rel);
	if (mkdir(path, 0755) != 0)
		assert_int_equal(errno, EEXIST);
}

/* One line of a recorded tree. A file that gave EIO becomes an empty one. */
static void
expand_line(char *line)
{
	char path[PATH_MAX];
	char *rel = strstr(line, "$DEV/");
	char *sep;

	line[strcspn(line, "\n")] = '\0';
	assert_non_null(rel);
	rel += strlen("$DEV/");
	if (line[0] == 'D') {
		make_dir(rel);
	} else if (line[0] == 'L') {
		sep = strstr(rel, " -> ");
		assert_non_null(sep);
		*sep = '\0';
		snprintf(path, sizeof(path), "%s/%s/%s", root, NAME, rel);
		assert_int_equal(symlink(sep + 4, path), 0);
	} else {
		sep = strstr(rel, " = ");
		if (sep != NULL)
			*sep = '\0';
		write_file(rel, sep == NULL || strcmp(sep + 3, "<EIO>") == 0 ? "" : sep + 3);
	}
}

static void
expand(const char *tree)
{
	char path[PATH_MAX], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/sysfs/%s", TEST_DATA, tree);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		expand_line(line);
	fclose(f);
}

static int
setup(void **state)
{
	(void)state;
	strcpy(root + strlen(root) - 6, "XXXXXX");
	if (mkdtemp(root) == NULL)
		return -1;
	vmbus_sysfs_set_roots(root, "/dev");
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void
check_device(const struct vmbus_sysfs_dev *dev)
{
	static const struct hv_guid nic = VMBUS_CLASS_NIC;
	char text[HV_GUID_STRLEN];

	assert_string_equal(dev->name, NAME);
	assert_true(hv_guid_equal(&dev->class_id, &nic));
	hv_guid_format(&dev->instance_id, text);
	assert_string_equal(text, NAME);
	assert_int_equal(dev->relid, 1);
	assert_int_equal(dev->hw_device_id, 3);
	assert_int_equal(dev->numa_node, 0);
}

static void
test_offered(void **state)
{
	struct vmbus_sysfs_dev dev;

	(void)state;
	expand("linux-6.1-offered.txt");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	check_device(&dev);
	assert_string_equal(dev.driver, "");
	assert_int_equal(dev.uio, -1);
}

static void
check_uio(const char *tree)
{
	struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT];
	struct vmbus_sysfs_chan chan;
	struct vmbus_sysfs_dev dev;
	unsigned int bad;

	expand(tree);
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	check_device(&dev);
	assert_string_equal(dev.driver, "uio_hv_generic");
	assert_int_equal(dev.uio, 0);
	assert_int_equal(vmbus_sysfs_maps(NAME, dev.uio, maps, &bad), 0);
	assert_int_equal(maps[VMBUS_MAP_RINGS].size, 4 << 20);
	assert_int_equal(maps[VMBUS_MAP_INT_PAGE].size, 4096);
	assert_int_equal(maps[VMBUS_MAP_MONITOR_PAGE].size, 4096);
	assert_int_equal(maps[VMBUS_MAP_RECV].size, 31 << 20);
	assert_int_equal(maps[VMBUS_MAP_RECV].gpadl, 925203);
	assert_int_equal(maps[VMBUS_MAP_SEND].size, 16 << 20);
	assert_int_equal(maps[VMBUS_MAP_SEND].gpadl, 925204);
	assert_int_equal(vmbus_sysfs_chan(NAME, 0, &chan), 0);
	assert_int_equal(chan.relid, 1);
	assert_int_equal(chan.monitor_id, 1);
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -EAGAIN);
}

static void
test_uio_6_1(void **state)
{
	(void)state;
	check_uio("linux-6.1-uio.txt");
}

static void
test_uio_6_12(void **state)
{
	(void)state;
	check_uio("linux-6.12-uio.txt");
}

/* Sub-channels come in any order, with sparse relids, and may still be without attributes. */
static void
test_subchannels(void **state)
{
	uint32_t relid[2] = { 0 };
	struct vmbus_sysfs_chan chan;

	(void)state;
	expand("linux-6.12-uio.txt");
	assert_int_equal(vmbus_sysfs_subs(NAME, relid, 2), 0);
	make_dir("channels/17");
	assert_int_equal(vmbus_sysfs_subs(NAME, relid, 2), 1);
	assert_int_equal(relid[0], 17);
	assert_int_equal(vmbus_sysfs_subs(NAME, NULL, 0), 1);
	write_file("channels/17/subchannel_id", "2|");
	write_file("channels/17/monitor_id", "40|");
	make_dir("channels/9");
	assert_int_equal(vmbus_sysfs_subs(NAME, relid, 2), 2);
	assert_int_equal(relid[0] + relid[1], 17 + 9);
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -EAGAIN);
	write_file("channels/9/subchannel_id", "1|");
	assert_int_equal(vmbus_sysfs_chan(NAME, 2, &chan), 0);
	assert_int_equal(chan.relid, 17);
	assert_int_equal(chan.monitor_id, 40);
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), 0);
	assert_int_equal(chan.relid, 9);
	assert_int_equal(chan.monitor_id, VMBUS_MONITOR_ID_NONE);
	remove_file("channels");
	assert_int_equal(vmbus_sysfs_subs(NAME, relid, 2), 0);
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -ENODEV);
	/* The primary is what the device is. */
	memset(&chan, 0xFF, sizeof(chan));
	assert_int_equal(vmbus_sysfs_chan(NAME, 0, &chan), 0);
	assert_int_equal(chan.index, 0);
	assert_int_equal(chan.relid, 1);
	assert_int_equal(chan.monitor_id, 1);
	remove_file("monitor_id");
	assert_int_equal(vmbus_sysfs_chan(NAME, 0, &chan), 0);
	assert_int_equal(chan.monitor_id, VMBUS_MONITOR_ID_NONE);
}

static void
expect_bad_map(unsigned int map, const char *file, const char *content)
{
	struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT];
	unsigned int bad = VMBUS_MAP_COUNT;
	char rel[64];

	snprintf(rel, sizeof(rel), "uio/uio0/maps/map%u/%s", map, file);
	write_file(rel, content);
	assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), -EPROTO);
	assert_int_equal(bad, map);
}

static void
test_bad_maps(void **state)
{
	static const char *const sizes[] = { "0x0|",	      "0x1001|", "",
					     "-4096|",	      "big|",	 "0x100000000000|",
					     "0x4000 0x4000|" };
	struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT];
	unsigned int i, bad;

	(void)state;
	expand("linux-6.1-uio.txt");
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		expect_bad_map(VMBUS_MAP_SEND, "size", sizes[i]);
	expect_bad_map(VMBUS_MAP_RECV, "name", "recv|");
	expect_bad_map(VMBUS_MAP_RECV, "name", "recv:|");
	expect_bad_map(VMBUS_MAP_RECV, "name", "recv:99999999999|");
	expect_bad_map(VMBUS_MAP_RECV, "name", "send:925203|");
	expect_bad_map(VMBUS_MAP_RINGS, "name", "int_page|");
	write_file("uio/uio0/maps/map0/name", "txrx_rings|");
	/* Without buffers, as devices of other classes are on new kernels. */
	remove_file("uio/uio0/maps/map3");
	remove_file("uio/uio0/maps/map4");
	assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), 0);
	assert_int_equal(maps[VMBUS_MAP_RECV].size, 0);
	assert_int_equal(maps[VMBUS_MAP_SEND].size, 0);
	remove_file("uio/uio0/maps/map2");
	assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), -EPROTO);
	assert_int_equal(bad, VMBUS_MAP_MONITOR_PAGE);
}

static void
test_bad_device(void **state)
{
	struct vmbus_sysfs_dev dev;

	(void)state;
	expand("linux-6.1-offered.txt");
	write_file("device", "what|");
	write_file("numa_node", "-1|");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_int_equal(dev.hw_device_id, 0);
	assert_int_equal(dev.numa_node, -1);
	write_file("class_id", "{f8615163-df3e}|");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), -EINVAL);
	remove_file("class_id");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), -ENOENT);
	assert_int_equal(vmbus_sysfs_read("nothing", &dev), -ENOENT);
}

static int
count(const struct vmbus_sysfs_dev *dev, void *arg)
{
	unsigned int *n = arg;

	check_device(dev);
	return ++*n == 7 ? -EINTR : 0;
}

/* --- each file: missing, empty, no file, garbage, too long ---------------------------------------- */

/* Contents that are no number, and none of the other things that files say. */
static const char *const garbage[] = {
	"",
	"|",
	"what|",
	"-7|",
	"+7|",
	"7 7|",
	" 7|",
	"7x|",
	"0x|",
	"{|",
	"99999999999999999999|",
	/* Longer than what is read, so that it is cut. */
	"1111111111111111111111111111111111111111111111111111111111111111111111111111111111111|",
};
#define N_BAD (sizeof(garbage) / sizeof(garbage[0]) + 2)

/* The file in the i-th bad state: none, a directory (read: EISDIR), or with such a content. */
static void
make_bad(const char *rel, unsigned int i)
{
	remove_file(rel);
	if (i == 1)
		make_dir(rel);
	else if (i >= 2)
		write_file(rel, garbage[i - 2]);
}

static void
keep(const char *rel, char *content, size_t len)
{
	char path[PATH_MAX];
	size_t n;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", root, NAME, rel);
	f = fopen(path, "r");
	assert_non_null(f);
	n = fread(content, 1, len - 1, f);
	content[n] = '\0';
	fclose(f);
}

/* What a device cannot be used without: it is not there, then, and a scan passes over it. */
static void
test_each_file_of_a_device(void **state)
{
	static const char *const needed[] = { "class_id", "device_id", "id" };
	static const char *const optional[] = { "device", "numa_node", "monitor_id" };
	struct vmbus_sysfs_dev dev;
	char content[128];
	unsigned int n;

	(void)state;
	expand("linux-6.1-uio.txt");
	for (unsigned int f = 0; f < 3; f++) {
		keep(needed[f], content, sizeof(content));
		for (unsigned int i = 0; i < N_BAD; i++) {
			make_bad(needed[f], i);
			assert_true(vmbus_sysfs_read(NAME, &dev) < 0);
			n = 0;
			assert_int_equal(vmbus_sysfs_scan(count, &n), 0);
			assert_int_equal(n, 0);
		}
		remove_file(needed[f]);
		write_file(needed[f], content);
	}
	for (unsigned int f = 0; f < 3; f++) {
		struct vmbus_sysfs_chan chan;

		keep(optional[f], content, sizeof(content));
		for (unsigned int i = 0; i < N_BAD; i++) {
			make_bad(optional[f], i);
			assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
			assert_int_equal(dev.relid, 1);
			assert_int_equal(dev.hw_device_id, f == 0 ? 0 : 3);
			assert_int_equal(dev.numa_node, f == 1 ? -1 : 0);
			assert_int_equal(vmbus_sysfs_chan(NAME, 0, &chan), 0);
			assert_int_equal(chan.monitor_id, 1); /* of the channel's own directory */
		}
		remove_file(optional[f]);
		write_file(optional[f], content);
	}
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	check_device(&dev);
}

/* The device's own word is the primary's where that has no directory. */
static void
test_each_file_of_a_channel(void **state)
{
	struct vmbus_sysfs_chan chan;

	(void)state;
	expand("linux-6.12-uio.txt");
	make_dir("channels/17");
	for (unsigned int i = 0; i < N_BAD; i++) {
		make_bad("channels/17/subchannel_id", i);
		assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -EAGAIN);
	}
	remove_file("channels/17/subchannel_id");
	write_file("channels/17/subchannel_id", "1|");
	for (unsigned int i = 0; i < N_BAD; i++) {
		make_bad("channels/17/monitor_id", i);
		assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), 0);
		assert_int_equal(chan.relid, 17);
		assert_int_equal(chan.monitor_id, VMBUS_MONITOR_ID_NONE);
	}
	remove_file("channels/17/monitor_id");
	write_file("channels/17/monitor_id", "128|");
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), 0);
	assert_int_equal(chan.monitor_id, VMBUS_MONITOR_ID_NONE);
	/* Directories that are no channel. */
	make_dir("channels/x");
	make_dir("channels/4294967296");
	write_file("channels/file", "1|");
	write_file("channels/17/subchannel_id", "65536|");
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -EAGAIN);
	remove_file("channels");
	write_file("channels", "|");
	assert_int_equal(vmbus_sysfs_chan(NAME, 1, &chan), -ENOTDIR);
	for (unsigned int i = 0; i < N_BAD; i++) {
		make_bad("monitor_id", i);
		assert_int_equal(vmbus_sysfs_chan(NAME, 0, &chan), 0);
		assert_int_equal(chan.monitor_id, VMBUS_MONITOR_ID_NONE);
	}
	for (unsigned int i = 0; i < N_BAD; i++) {
		make_bad("id", i);
		assert_true(vmbus_sysfs_chan(NAME, 0, &chan) < 0);
	}
}

/* A map that is not what its number says fails the open, which is told which. */
static void
test_each_file_of_a_map(void **state)
{
	struct vmbus_sysfs_map maps[VMBUS_MAP_COUNT];
	char rel[64], content[128];
	unsigned int bad;

	(void)state;
	expand("linux-6.1-uio.txt");
	for (unsigned int m = 0; m < VMBUS_MAP_COUNT; m++)
		for (unsigned int f = 0; f < 2; f++) {
			snprintf(rel, sizeof(rel), "uio/uio0/maps/map%u/%s", m,
				 f ? "size" : "name");
			keep(rel, content, sizeof(content));
			for (unsigned int i = 0; i < N_BAD; i++) {
				make_bad(rel, i);
				bad = VMBUS_MAP_COUNT;
				/* Of a buffer that is not there there is no name. */
				if (i == 0 && f == 0 && m >= VMBUS_MAP_RECV) {
					assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), 0);
					assert_int_equal(maps[m].size, 0);
					continue;
				}
				assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), -EPROTO);
				assert_int_equal(bad, m);
			}
			remove_file(rel);
			write_file(rel, content);
		}
	assert_int_equal(vmbus_sysfs_maps(NAME, 0, maps, &bad), 0);
	assert_int_equal(vmbus_sysfs_maps(NAME, 1, maps, &bad), -EPROTO);
	assert_int_equal(bad, 0);
}

static void
test_state(void **state)
{
	unsigned int now = 77;

	(void)state;
	expand("linux-6.1-uio.txt");
	write_file("state", "3|");
	assert_int_equal(vmbus_sysfs_state(NAME, &now), 0);
	assert_int_equal(now, 3);
	for (unsigned int i = 0; i < N_BAD; i++) {
		make_bad("state", i);
		assert_true(vmbus_sysfs_state(NAME, &now) < 0);
	}
	assert_int_equal(now, 3);
}

/* Of whom the device is, and which uio device stands for it. */
static void
test_driver_and_uio(void **state)
{
	struct vmbus_sysfs_dev dev;
	char path[PATH_MAX];

	(void)state;
	expand("linux-6.1-uio.txt");
	remove_file("driver");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_string_equal(dev.driver, "");
	write_file("driver", "hv_netvsc|"); /* no link */
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_string_equal(dev.driver, "");
	remove_file("driver");
	snprintf(path, sizeof(path), "%s/%s/driver", root, NAME);
	assert_int_equal(symlink("hv_netvsc", path), 0); /* without a directory */
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_string_equal(dev.driver, "hv_netvsc");
	remove_file("driver");
	assert_int_equal(
		symlink("../a-name-that-is-longer-than-any-driver-of-a-kernel-ever-has-been-or-"
			"will-be",
			path),
		0);
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_string_equal(dev.driver, "");
	remove_file("uio");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_int_equal(dev.uio, -1);
	make_dir("uio");
	make_dir("uio/uio");
	make_dir("uio/uio-1");
	make_dir("uio/uio2147483648");
	make_dir("uio/other3");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_int_equal(dev.uio, -1);
	make_dir("uio/uio2147483647");
	assert_int_equal(vmbus_sysfs_read(NAME, &dev), 0);
	assert_int_equal(dev.uio, INT_MAX);
	assert_int_equal(
		vmbus_sysfs_read("a-name-that-is-far-too-long-to-be-that-of-any-device-of-this-"
				 "bus-whatever-it-is",
				 &dev),
		-ENOENT);
}

static void
test_scan(void **state)
{
	unsigned int n = 0;

	(void)state;
	vmbus_sysfs_set_roots("/nonexistent/vmbus", NULL);
	assert_int_equal(vmbus_sysfs_scan(count, &n), 0);
	assert_int_equal(n, 0);
	vmbus_sysfs_set_roots(root, NULL);
	assert_int_equal(vmbus_sysfs_scan(count, &n), 0);
	assert_int_equal(n, 0);
	expand("linux-6.1-uio.txt");
	assert_int_equal(vmbus_sysfs_scan(count, &n), 0);
	assert_int_equal(n, 1);
	n = 6;
	assert_int_equal(vmbus_sysfs_scan(count, &n), -EINTR);
	remove_file("id");
	n = 0;
	assert_int_equal(vmbus_sysfs_scan(count, &n), 0);
	assert_int_equal(n, 0);
}

static void
test_paths(void **state)
{
	char path[PATH_MAX], want[PATH_MAX];

	(void)state;
	vmbus_sysfs_uio_path(12, path, sizeof(path));
	assert_string_equal(path, "/dev/uio12");
	vmbus_sysfs_ring_path(NAME, 17, path, sizeof(path));
	snprintf(want, sizeof(want), "%s/" NAME "/channels/17/ring", root);
	assert_string_equal(path, want);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_offered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uio_6_1, setup, teardown),
		cmocka_unit_test_setup_teardown(test_uio_6_12, setup, teardown),
		cmocka_unit_test_setup_teardown(test_subchannels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_maps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_scan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_file_of_a_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_file_of_a_channel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_file_of_a_map, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_driver_and_uio, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
