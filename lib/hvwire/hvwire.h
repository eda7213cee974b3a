/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Conventions of every wire header in this directory.
 *
 * All integers are little-endian on the wire. The structures are packed and are
 * read with memcpy() or through a pointer to packed data, never through a naturally
 * aligned type: hosts lay RNDIS headers out at any 2-byte boundary.
 */
#ifndef HVWIRE_H
#define HVWIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "VMBus guests are little-endian; a big-endian build is not supported"
#endif

#define HVWIRE_PACKED __attribute__((packed))

/*
 * Compile-time proof of a layout: the size of a structure, behind it, and the offset of a field,
 * in hvwire_layout.c.
 */
#define HVWIRE_SIZE(type, size) \
	static_assert(sizeof(type) == (size), "size of " #type " differs from the wire")
#define HVWIRE_OFF(type, field, off) \
	static_assert(offsetof(type, field) == (off), "offset of " #type "." #field)

/*
 * Load a field, at any alignment, from memory that the other side may be writing: exactly one
 * load, so that what was checked is what is used.
 */
static inline uint32_t
hv_load32(const void *p)
{
	const struct {
		uint32_t v;
	} HVWIRE_PACKED volatile *at = p;

	return at->v;
}

static inline uint64_t
hv_load64(const void *p)
{
	const struct {
		uint64_t v;
	} HVWIRE_PACKED volatile *at = p;

	return at->v;
}

/* The unit of guest physical memory in every VMBus structure, whatever the CPU's page. */
#define HV_PAGE_SHIFT 12
#define HV_PAGE_SIZE  (1u << HV_PAGE_SHIFT)
#define HV_PAGE_MASK  (HV_PAGE_SIZE - 1)

/* A GUID as VMBus carries it: the first three fields little-endian, the rest as bytes. */
struct hv_guid {
	uint8_t b[16];
} HVWIRE_PACKED;
HVWIRE_SIZE(struct hv_guid, 16);

/* Text form is 36 characters plus the terminating zero. */
#define HV_GUID_STRLEN 37

#endif /* HVWIRE_H */
