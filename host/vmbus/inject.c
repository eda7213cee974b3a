/* SPDX-License-Identifier: BSD-3-Clause */
/* Control messages of any content, for tests of guests: what no faithful host sends. */
#include <errno.h>
#include <string.h>

#include "json_args.h"
#include "vmbus_host.h"

int
vmbus_inject(struct partition *part, json_t *request, json_t *reply)
{
	struct vmu_sint_msg m = { .vp = part->vmbus->msg_vp, .sint = VMBUS_SINT };
	uint64_t type = VMBUS_MSGTYPE_CHANNEL, size;
	uint32_t len;

	if (json_arg_hex(request, "bytes", m.payload, sizeof(m.payload), &len) != 0)
		return json_refuse(reply, "bus-raw: bytes are hexadecimal, at most 240");
	size = len;
	if (json_arg_uint(request, reply, "type", UINT32_MAX, &type) != 0 ||
	    json_arg_uint(request, reply, "size", UINT32_MAX, &size) != 0)
		return -EINVAL;
	m.msg_type = (uint32_t)type;
	m.size = (uint32_t)size;
	out_send(part, VMU_SINT_MESSAGE, 0, &m, offsetof(struct vmu_sint_msg, payload) + len, -1,
		 0);
	return 0;
}
