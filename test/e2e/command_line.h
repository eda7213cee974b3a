/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands that a test types to an application that polls meanwhile. */
#ifndef E2E_COMMAND_LINE_H
#define E2E_COMMAND_LINE_H

#include <poll.h>
#include <stddef.h>
#include <unistd.h>

#define LINE_MAX_LEN 128

/* The next command if there is a whole line, else NULL; "quit" at the end of the input. */
static const char *
read_line(void)
{
	static char line[LINE_MAX_LEN];
	static size_t len;
	struct pollfd pfd = { .fd = STDIN_FILENO, .events = POLLIN };

	while (poll(&pfd, 1, 0) == 1) {
		ssize_t n = read(STDIN_FILENO, &line[len], 1);

		if (n <= 0)
			return "quit";
		if (line[len] == '\n') {
			line[len] = '\0';
			len = 0;
			return line;
		}
		if (++len == sizeof(line))
			len = 0;
	}
	return NULL;
}

#endif /* E2E_COMMAND_LINE_H */
