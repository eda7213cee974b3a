/* SPDX-License-Identifier: BSD-3-Clause */
/* What hv-host says: log lines, broken rules, the message trace. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "host.h"
#include "options.h"
#include "report.h"
#include "vm/partition.h"

#define RULES_MAX      128
#define SHOWN_PER_RULE 10 /* later ones are only counted: a hostile guest must not fill a disk */
#define SHOWN_BYTES    64

struct rule {
	char name[48];
	uint64_t count;
};

static struct rule rules[RULES_MAX];
static unsigned int n_rules;
static uint64_t violations;
static FILE *trace;
static uint64_t trace_start;
static uint64_t now;
bool host_tracing;

uint64_t
host_clock(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t
host_now(void)
{
	return now;
}

uint64_t
host_after(uint64_t ns)
{
	return (ns != 0 ? host_clock() : now) + ns;
}

uint32_t
host_random(void)
{
	static uint64_t x;

	if (x == 0)
		x = host_opt.seed != 0 ? host_opt.seed : host_clock() | 1;
	/* xorshift64 */
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (uint32_t)(x >> 32);
}

void
report_tick(void)
{
	now = host_clock();
}

void
host_log(enum host_level level, const char *fmt, ...)
{
	static const char *const prefix[] = { "error: ", "warning: ", "", "" };
	va_list ap;

	if (level >= HOST_INFO && !host_opt.verbose)
		return;
	fprintf(stderr, "hv-host: %s", prefix[level]);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

/* The rule's counter; the last slot collects what does not fit. */
static struct rule *
rule_find(const char *name)
{
	for (unsigned int i = 0; i < n_rules; i++)
		if (strcmp(rules[i].name, name) == 0)
			return &rules[i];
	if (n_rules == RULES_MAX)
		return &rules[RULES_MAX - 1];
	snprintf(rules[n_rules].name, sizeof(rules[n_rules].name), "%s", name);
	return &rules[n_rules++];
}

void
host_violation(struct partition *part, const char *rule, const void *bytes, size_t len,
	       const char *fmt, ...)
{
	struct rule *r = rule_find(rule);
	const uint8_t *b = bytes;
	va_list ap;

	violations++;
	if (part != NULL)
		part->violations++;
	if (r->count++ >= SHOWN_PER_RULE)
		return;
	fprintf(stderr, "hv-host: violation %s: guest %u: ", rule, part ? part->id : 0);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	for (size_t i = 0; b != NULL && i < len && i < SHOWN_BYTES; i++)
		fprintf(stderr, "%s%02x", i ? " " : ": ", b[i]);
	fputs(r->count == SHOWN_PER_RULE ? " (more of this rule are only counted)\n" : "\n",
	      stderr);
}

uint64_t
report_violations(void)
{
	return violations;
}

json_t *
report_violations_json(void)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < n_rules; i++)
		json_object_set_new(o, rules[i].name, json_integer((json_int_t)rules[i].count));
	return o;
}

int
report_open_trace(const char *path)
{
	trace = fopen(path, "we");
	if (trace == NULL) {
		fprintf(stderr, "hv-host: --trace %s: %s\n", path, strerror(errno));
		return -EINVAL;
	}
	/* Who follows it sees each message when it happens, and the last before a crash. */
	setvbuf(trace, NULL, _IOLBF, 0);
	trace_start = host_clock();
	host_tracing = true;
	return 0;
}

void
report_close(void)
{
	if (trace != NULL)
		fclose(trace);
	trace = NULL;
	host_tracing = false;
}

void
host_trace(char dir, const char *layer, const char *name, uint32_t chan, const void *bytes,
	   size_t len)
{
	uint64_t t = host_clock() - trace_start;
	const uint8_t *b = bytes;

	if (trace == NULL)
		return;
	fprintf(trace, "%10.6f %s %s %s ch=%u len=%zu :", (double)t / 1e9,
		dir == 'G' ? "G>H" : "H>G", layer, name, chan, len);
	for (size_t i = 0; i < len; i++)
		fprintf(trace, " %02x", b[i]);
	fputc('\n', trace);
}
