/* SPDX-License-Identifier: BSD-3-Clause */
#include "msg_name.h"
#include "vmbus_wire.h"

#define NAME(x) [VMBUS_MSG_##x] = #x

const char *
vmbus_msg_name(uint32_t type)
{
	static const char *const names[] = {
		NAME(OFFERCHANNEL),
		NAME(RESCIND_CHANNELOFFER),
		NAME(REQUESTOFFERS),
		NAME(ALLOFFERS_DELIVERED),
		NAME(OPENCHANNEL),
		NAME(OPENCHANNEL_RESULT),
		NAME(CLOSECHANNEL),
		NAME(GPADL_HEADER),
		NAME(GPADL_BODY),
		NAME(GPADL_CREATED),
		NAME(GPADL_TEARDOWN),
		NAME(GPADL_TORNDOWN),
		NAME(RELID_RELEASED),
		NAME(INITIATE_CONTACT),
		NAME(VERSION_RESPONSE),
		NAME(UNLOAD),
		NAME(UNLOAD_RESPONSE),
		NAME(TL_CONNECT_REQUEST),
		NAME(TL_CONNECT_RESULT),
		NAME(MODIFYCHANNEL),
		NAME(MODIFYCHANNEL_RESPONSE),
	};

	if (type >= sizeof(names) / sizeof(names[0]) || names[type] == NULL)
		return "UNKNOWN";
	return names[type];
}
