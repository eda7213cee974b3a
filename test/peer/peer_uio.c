/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * /dev/uioN. An open file is one end of a socket pair, so that every way of waiting for it
 * works: a byte makes it readable, the other end's close makes it IN, ERR and HUP at once, as
 * the kernel's does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "peer.h"

#define MAPPINGS_MAX 64

struct peer_file {
	struct peer_dev *dev;
	int far; /* our end of the pair, -1 after hang-up; under files_lock */
	uint32_t seen;
};

static struct peer_file *files[PEER_FDS]; /* atomic pointers, by descriptor */
static pthread_mutex_t files_lock = PTHREAD_MUTEX_INITIALIZER;

/* Mappings of device files: they keep the device open. Under peer_lock. */
static struct {
	struct peer_dev *dev;
	uint8_t *addr;
	size_t len;
} mappings[MAPPINGS_MAX];

struct peer_file *
uio_file(int fd)
{
	if (fd < 0 || fd >= PEER_FDS)
		return NULL;
	return __atomic_load_n(&files[fd], __ATOMIC_ACQUIRE);
}

static struct peer_dev *
dev_of(int uio)
{
	for (unsigned int i = 0; i < PEER_DEVICES; i++)
		if (peer_devs[i].used && peer_devs[i].uio == uio)
			return &peer_devs[i];
	return NULL;
}

static int
get_user(struct peer_dev *dev)
{
	int rc = dev->users == 0 ? bus_open(dev) : 0;

	if (rc == 0)
		dev->users++;
	return rc;
}

static void
put_user(struct peer_dev *dev)
{
	if (--dev->users == 0)
		bus_close(dev);
}

static int
make_file(struct peer_dev *dev, int flags)
{
	int type = SOCK_STREAM | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0);
	struct peer_file *f = calloc(1, sizeof(*f));
	int pair[2];

	if (f == NULL)
		return -ENOMEM;
	if (peer_bare) {
		pair[0] = memfd_create("uio", MFD_CLOEXEC);
		pair[1] = -1;
	} else if (socketpair(AF_UNIX, type, 0, pair) != 0) {
		pair[0] = -1;
	}
	if (pair[0] < 0 || pair[0] >= PEER_FDS) {
		free(f);
		return -EMFILE;
	}
	f->dev = dev;
	f->far = pair[1];
	f->seen = __atomic_load_n(&dev->count, __ATOMIC_ACQUIRE);
	if (flags & O_NONBLOCK)
		fcntl(pair[0], F_SETFL, O_NONBLOCK);
	if (!peer_bare) {
		fcntl(pair[1], F_SETFL, O_NONBLOCK);
		fcntl(pair[1], F_SETFD, FD_CLOEXEC);
		/* A byte that is never read turns the far end's close into an error of this end. */
		if (send(pair[0], "", 1, MSG_NOSIGNAL) != 1)
			peer_log("socket pair: %s", strerror(errno));
	}
	pthread_mutex_lock(&files_lock);
	__atomic_store_n(&files[pair[0]], f, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&files_lock);
	return pair[0];
}

int
uio_open(int uio, int flags)
{
	struct peer_dev *dev;
	int rc = -ENOENT;

	pthread_mutex_lock(&peer_lock);
	dev = dev_of(uio);
	if (dev != NULL && __atomic_load_n(&dev->dead, __ATOMIC_ACQUIRE))
		rc = -ENODEV;
	else if (dev != NULL)
		rc = get_user(dev);
	if (rc == 0) {
		rc = make_file(dev, flags);
		if (rc < 0)
			put_user(dev);
	}
	pthread_mutex_unlock(&peer_lock);
	return rc;
}

ssize_t
uio_read(struct peer_file *f, int fd, void *buf, size_t len)
{
	char drop[64];
	uint32_t count;

	if (len != sizeof(count)) {
		errno = EINVAL;
		return -1;
	}
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (__atomic_load_n(&f->dev->dead, __ATOMIC_ACQUIRE)) {
			errno = EIO;
			return -1;
		}
		/* Bytes first, count second: what comes in between is seen at the next read. */
		while (recv(fd, drop, sizeof(drop), MSG_DONTWAIT) > 0)
			;
		count = __atomic_load_n(&f->dev->count, __ATOMIC_ACQUIRE);
		if (count != f->seen)
			break;
		if (fcntl(fd, F_GETFL) & O_NONBLOCK) {
			errno = EAGAIN;
			return -1;
		}
		if (poll(&p, 1, -1) < 0)
			return -1;
	}
	f->seen = count;
	memcpy(buf, &count, sizeof(count));
	return sizeof(count);
}

ssize_t
uio_write(struct peer_file *f, const void *buf, size_t len)
{
	int32_t on;

	if (__atomic_load_n(&f->dev->dead, __ATOMIC_ACQUIRE)) {
		errno = EIO;
		return -1;
	}
	if (len != sizeof(on)) {
		errno = EINVAL;
		return -1;
	}
	memcpy(&on, buf, sizeof(on));
	bus_irqcontrol(f->dev, on != 0);
	return sizeof(on);
}

/* Memory of map i and where it starts in its file. */
static const struct peer_mem *
map_mem(const struct peer_dev *dev, unsigned int i, uint64_t *bytes, off_t *offset)
{
	static const unsigned int page_of_map[] = { 0, 0, 2 };

	*offset = 0;
	*bytes = HV_PAGE_SIZE;
	if (i == 1 || i == 2) {
		*offset = (off_t)page_of_map[i] * HV_PAGE_SIZE;
		return &bus_pages;
	}
	if (i == 0)
		*bytes = dev->chan[0].ring.bytes;
	else
		*bytes = i == 3 ? dev->recv.bytes : dev->send.bytes;
	return i == 0 ? &dev->chan[0].ring : i == 3 ? &dev->recv : &dev->send;
}

void *
uio_mmap(struct peer_file *f, void *addr, size_t len, int prot, int flags, off_t offset)
{
	const struct peer_mem *mem;
	struct peer_dev *dev = f->dev;
	void *p = MAP_FAILED;
	uint64_t bytes;
	off_t at;

	if (offset < 0 || offset % HV_PAGE_SIZE != 0 || offset / HV_PAGE_SIZE >= PEER_MAPS) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	pthread_mutex_lock(&peer_lock);
	mem = map_mem(dev, (unsigned int)(offset / HV_PAGE_SIZE), &bytes, &at);
	if (__atomic_load_n(&dev->dead, __ATOMIC_ACQUIRE))
		errno = ENODEV;
	else if (len > bytes)
		errno = EINVAL;
	else
		p = PEER_REAL(mmap)(peer_bare ? NULL : addr, len, prot,
				    peer_bare ? MAP_SHARED : flags, mem->fd, at);
	for (unsigned int i = 0; p != MAP_FAILED && i < MAPPINGS_MAX; i++) {
		if (mappings[i].dev != NULL)
			continue;
		mappings[i].dev = dev;
		mappings[i].addr = p;
		mappings[i].len = len;
		dev->users++;
		break;
	}
	pthread_mutex_unlock(&peer_lock);
	return p;
}

void
uio_unmapped(void *addr, size_t len)
{
	uint8_t *from = addr;

	pthread_mutex_lock(&peer_lock);
	for (unsigned int i = 0; i < MAPPINGS_MAX; i++) {
		struct peer_dev *dev = mappings[i].dev;

		if (dev == NULL || mappings[i].addr < from ||
		    mappings[i].addr + mappings[i].len > from + len)
			continue;
		mappings[i].dev = NULL;
		put_user(dev);
	}
	pthread_mutex_unlock(&peer_lock);
}

void
uio_close(struct peer_file *f, int fd)
{
	struct peer_dev *dev = f->dev;

	pthread_mutex_lock(&files_lock);
	__atomic_store_n(&files[fd], NULL, __ATOMIC_RELEASE);
	if (f->far >= 0)
		close(f->far);
	pthread_mutex_unlock(&files_lock);
	free(f);
	pthread_mutex_lock(&peer_lock);
	put_user(dev);
	pthread_mutex_unlock(&peer_lock);
}

bool
uio_ring_closed(int fd)
{
	struct stat st;
	bool closed = false;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return false;
	for (unsigned int d = 0; d < PEER_DEVICES; d++) {
		for (unsigned int c = 0; peer_devs[d].used && c < PEER_CHANNELS; c++) {
			const struct peer_chan *chan = &peer_devs[d].chan[c];

			if (chan->ring.fd >= 0 && chan->ring_ino == st.st_ino &&
			    st.st_size == (off_t)chan->ring.bytes)
				closed = !chan->open;
		}
	}
	return closed;
}

void
uio_notify(struct peer_dev *dev)
{
	__atomic_fetch_add(&dev->count, 1, __ATOMIC_ACQ_REL);
	pthread_mutex_lock(&files_lock);
	for (unsigned int i = 0; i < PEER_FDS; i++)
		/* A full socket is readable already. */
		if (files[i] != NULL && files[i]->dev == dev && files[i]->far >= 0)
			(void)!send(files[i]->far, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	pthread_mutex_unlock(&files_lock);
}

void
uio_hangup(struct peer_dev *dev)
{
	__atomic_store_n(&dev->dead, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&files_lock);
	for (unsigned int i = 0; i < PEER_FDS; i++) {
		if (files[i] == NULL || files[i]->dev != dev || files[i]->far < 0)
			continue;
		close(files[i]->far);
		files[i]->far = -1;
	}
	pthread_mutex_unlock(&files_lock);
}
