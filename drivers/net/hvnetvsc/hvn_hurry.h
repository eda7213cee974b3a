/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The patience of a port that ends: a program is to end within 2 s, and may have many ports, on
 * hosts that do not answer.
 */
#ifndef HVN_HURRY_H
#define HVN_HURRY_H

#include <stdbool.h>

#include "hvn.h"

#define HVN_STOP_TIMEOUT_MS 500u

/*
 * How long a stop waits for the host: "stop_timeout", and less and less while this host, of which
 * there may be several, lets its ports wait in vain.
 */
uint32_t hvn_hurry_ms(const struct hvn_port *p);

/*
 * The port stops or closes: whatever is asked of the host, also by others who hold ctrl_lock now,
 * has this time in all, until hvn_hurry_end(). Any thread.
 */
void hvn_hurry(struct hvn_port *p);
void hvn_hurry_end(struct hvn_port *p);
/* Is it so just now? */
bool hvn_hurried(const struct hvn_port *p);

/*
 * The same by who holds ctrl_lock and does not act for the application, which may come to be in a hurry
 * meanwhile, or be already: its hurry is not ended. From the one to the other: what it returned.
 */
uint64_t hvn_hurry_alone(struct hvn_port *p);
void hvn_hurry_alone_end(struct hvn_port *p, uint64_t until);

/* The milliseconds of it that are left, at least 1. */
uint32_t hvn_hurry_left(const struct hvn_port *p);

/* Is a wait at its end that ends at `until` (timer cycles) where there is no hurry? */
bool hvn_hurry_over(struct hvn_port *p, uint64_t until);

/* The host has let the port wait in vain; it has answered. */
void hvn_hurry_late(struct hvn_port *p);
void hvn_hurry_answered(struct hvn_port *p);

#endif /* HVN_HURRY_H */
