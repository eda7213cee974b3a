/* SPDX-License-Identifier: BSD-3-Clause */
/* Back end "user": VMBus spoken by this process, over a vmbus-user socket. */
#include <errno.h>
#include <stdlib.h>

#include "vmbus_bus.h"
#include "vmbus_user.h"

bool
vmbus_user_wanted(void)
{
	const char *env = getenv(VMU_SOCKET_ENV);

	return (env != NULL && *env != '\0') || vmbus_devargs_socket(0) != NULL;
}

static int
user_scan(void)
{
	return 0;
}

static void
user_release(struct hv_vmbus_device *dev)
{
	dev->backend = NULL;
}

const struct vmbus_backend_ops vmbus_user_ops = {
	.name = "user",
	.scan = user_scan,
	.release = user_release,
};
