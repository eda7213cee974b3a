/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of the VMBus control messages, as in vmbus_wire.h without the prefix. */
#ifndef HOST_MSG_NAME_H
#define HOST_MSG_NAME_H

#include <stdint.h>

/* Never NULL: "UNKNOWN" for a number without a name. */
const char *vmbus_msg_name(uint32_t type);

#endif /* HOST_MSG_NAME_H */
