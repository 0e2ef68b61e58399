/*
 * Basic types of the VDDK headers. Part of vixdisklib; licence: MIT OR Apache-2.0.
 *
 * Clean-room: written from published facts only. Source of every item here: the file of the same name in
 * open-vm-tools, for the names and the sizes; nbdkit's vddk plugin agrees on `Bool`.
 */

#ifndef _VM_BASIC_TYPES_H_
#define _VM_BASIC_TYPES_H_

#include <stdint.h>

/** Unsigned, 8 bits. */
typedef uint8_t uint8;
/** Unsigned, 16 bits. */
typedef uint16_t uint16;
/** Unsigned, 32 bits. */
typedef uint32_t uint32;
/** Unsigned, 64 bits. */
typedef uint64_t uint64;
/** Signed, 32 bits. */
typedef int32_t int32;
/** Signed, 64 bits. */
typedef int64_t int64;

/** A truth value of one byte: zero is false, anything else is true. Pass 0 or 1. */
typedef char Bool;

#ifndef FALSE
#define FALSE 0
#endif

#ifndef TRUE
#define TRUE 1
#endif

#endif /* _VM_BASIC_TYPES_H_ */
