/* SPDX-License-Identifier: BSD-3-Clause */
/* Violations, the trace and the clock: what report.c offers beyond host.h. */
#ifndef HOST_REPORT_H
#define HOST_REPORT_H

#include <jansson.h>
#include <stdint.h>

int report_open_trace(const char *path);
void report_close(void);
void report_tick(void); /* sample the clock that host_now() returns */
uint64_t report_violations(void);
json_t *report_violations_json(void); /* rule: count */

#endif /* HOST_REPORT_H */
