/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without a fuzzer, for compilers that have none: over every file of the
 * directories given, over every prefix of each, and with each byte replaced by a few values.
 * Fails if a directory holds no file: an empty corpus proves nothing.
 */
#include <dirent.h>
#include <string.h>

#include "fuzz.h"

#define INPUT_MAX 4096

static unsigned long runs;

static void
run(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size != 0 ? size : 1);

	if (exact == NULL)
		abort();
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	runs++;
}

static void
run_variants(uint8_t *data, size_t size)
{
	static const uint8_t values[] = { 0x00, 0x01, 0x7F, 0x80, 0xFF };
	size_t i, v;
	uint8_t keep;

	run(data, size);
	for (i = 0; i < size; i++) {
		run(data, i);
		keep = data[i];
		for (v = 0; v < sizeof(values); v++) {
			data[i] = values[v];
			run(data, size);
		}
		data[i] = (uint8_t)(keep + 4);
		run(data, size);
		data[i] = (uint8_t)(keep - 4);
		run(data, size);
		data[i] = keep;
	}
}

static int
run_dir(const char *path)
{
	static uint8_t data[INPUT_MAX];
	char name[1024];
	struct dirent *e;
	unsigned int files = 0;
	size_t size;
	FILE *f;
	DIR *d = opendir(path);

	if (d == NULL) {
		fprintf(stderr, "%s: cannot open the corpus directory\n", path);
		return -1;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		f = fopen(name, "rb");
		if (f == NULL) {
			fprintf(stderr, "%s: cannot open\n", name);
			closedir(d);
			return -1;
		}
		size = fread(data, 1, sizeof(data), f);
		fclose(f);
		run_variants(data, size);
		files++;
	}
	closedir(d);
	printf("%s: %u files, %lu runs\n", path, files, runs);
	return files == 0 ? -1 : 0;
}

int
main(int argc, char **argv)
{
	int i;

	if (argc < 2) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY...\n", argv[0]);
		return 2;
	}
	for (i = 1; i < argc; i++)
		if (run_dir(argv[i]) != 0)
			return 1;
	return 0;
}
