/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "port_opt.h"

/* A number with an optional decimal multiplier; *end is set behind it. */
static int
parse_number(const char *text, char **end, uint64_t *v)
{
	uint64_t unit = 1;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	*v = strtoull(text, end, 0);
	if (errno != 0 || *end == text)
		return -EINVAL;
	if (**end == 'k')
		unit = 1000;
	else if (**end == 'M')
		unit = 1000000;
	else if (**end == 'G')
		unit = 1000000000;
	if (unit != 1)
		(*end)++;
	return __builtin_mul_overflow(*v, unit, v) ? -EINVAL : 0;
}

static int
parse_range(const struct port_opt *o, const char *text, uint64_t *v)
{
	char *end;

	if (parse_number(text, &end, &v[0]) != 0)
		return -EINVAL;
	v[1] = v[0];
	if (o->type == PORT_OPT_RANGE && *end == '-' && parse_number(end + 1, &end, &v[1]) != 0)
		return -EINVAL;
	return *end == '\0' && v[0] >= o->min && v[1] <= o->max && v[0] <= v[1] ? 0 : -EINVAL;
}

static int
parse_choice(const char *choices, const char *text, unsigned int *index)
{
	size_t len = strlen(text);

	for (unsigned int i = 0;; i++) {
		size_t word = strcspn(choices, "|");

		if (word == len && strncmp(choices, text, len) == 0) {
			*index = i;
			return 0;
		}
		if (choices[word] == '\0')
			return -EINVAL;
		choices += word + 1;
	}
}

static int
apply(const struct port_opt *o, const char *value, char *to)
{
	uint64_t v[2];

	if (o->type == PORT_OPT_SET) {
		*(bool *)to = true;
		return value == NULL ? 0 : -EINVAL;
	}
	if (value == NULL)
		return -EINVAL;
	if (o->type == PORT_OPT_CHOICE)
		return parse_choice(o->choices, value, (unsigned int *)to);
	if (parse_range(o, value, v) != 0)
		return -EINVAL;
	memcpy(to, v, o->type == PORT_OPT_RANGE ? sizeof(v) : sizeof(v[0]));
	return 0;
}

static void
complain(const char *kind, const struct port_opt *opts, const struct port_opt *o, const char *key,
	 const char *value)
{
	fprintf(stderr, "hv-host: port %s: ", kind);
	if (o->key == NULL) {
		fprintf(stderr, "no option \"%s\"; there are:", key);
		for (o = opts; o->key != NULL; o++)
			fprintf(stderr, " %s", o->key);
		fputc('\n', stderr);
	} else if (o->type == PORT_OPT_SET)
		fprintf(stderr, "%s takes no value\n", key);
	else if (o->type == PORT_OPT_CHOICE)
		fprintf(stderr, "%s=%s: must be %s\n", key, value ? value : "", o->choices);
	else
		fprintf(stderr, "%s=%s: must be a number from %llu to %llu%s\n", key,
			value ? value : "", (unsigned long long)o->min, (unsigned long long)o->max,
			o->type == PORT_OPT_RANGE ? ", or two of them: low-high" : "");
}

int
port_opt_parse(const char *kind, const struct port_opt *opts, const char *text, void *config)
{
	char *copy = strdup(text), *save = NULL, *key;
	int rc = copy == NULL ? -ENOMEM : 0;

	for (key = rc ? NULL : strtok_r(copy, ",", &save); key != NULL && rc == 0;
	     key = strtok_r(NULL, ",", &save)) {
		const struct port_opt *o = opts;
		char *value = strchr(key, '=');

		if (value != NULL)
			*value++ = '\0';
		while (o->key != NULL && strcmp(o->key, key) != 0)
			o++;
		rc = o->key == NULL ? -EINVAL : apply(o, value, (char *)config + o->offset);
		if (rc != 0)
			complain(kind, opts, o, key, value);
	}
	free(copy);
	return rc;
}

void
port_opt_help(const struct port_opt *opts)
{
	for (; opts->key != NULL; opts++) {
		char left[64];

		snprintf(left, sizeof(left), "%s%s", opts->key,
			 opts->type == PORT_OPT_UINT	? "=N"
			 : opts->type == PORT_OPT_RANGE ? "=N[-M]"
							: "");
		if (opts->type == PORT_OPT_CHOICE)
			snprintf(left, sizeof(left), "%s=%s", opts->key, opts->choices);
		printf("    %-22s  %s\n", left, opts->help);
	}
}
