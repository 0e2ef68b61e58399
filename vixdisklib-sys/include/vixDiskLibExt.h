/*
 * Functions that VDDK lacks, under a prefix of their own. Part of vixdisklib; licence: MIT OR Apache-2.0.
 *
 * Source of every item: this project. VDDK has none of these; a caller looks each symbol up at run time and does
 * without where it is missing. All positions and lengths are sectors of 512 bytes inside the capacity of the disk.
 */

#ifndef _VIXDISKLIB_EXT_H_
#define _VIXDISKLIB_EXT_H_

#include "vixDiskLib.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef _WIN32
#pragma pack(push, 4)
#endif

/** Some link of the chain holds data for the extent. */
#define VIXDISKLIBEXT_EXTENT_ALLOCATED 1
/** The extent reads as zeros. */
#define VIXDISKLIBEXT_EXTENT_ZERO 2

/** Zeroed space may be given back to the file system. */
#define VIXDISKLIBEXT_ZERO_MAY_FREE 1
/** Zeroed space must stay allocated, or become so. Excludes `VIXDISKLIBEXT_ZERO_MAY_FREE`. */
#define VIXDISKLIBEXT_ZERO_MUST_ALLOCATE 2
/** Fail at once, with nothing changed, if that is not faster than writing zeros. Goes with either of the others. */
#define VIXDISKLIBEXT_ZERO_FAST_ONLY 4

/** A run of sectors in one state. */
typedef struct {
   /** First sector. */
   uint64 offset;
   /** Length in sectors, never 0. */
   uint64 length;
   /** Bits of `VIXDISKLIBEXT_EXTENT_`. */
   uint32 flags;
   /** The link of the chain that decides: 0 for the disk that was opened, 1 for its parent. */
   uint32 depth;
} VixDiskLibExtExtent;

/** Where sectors lie in a file as plain bytes. */
typedef struct {
   /** Length in sectors of what lies there, counted from the first one that was asked for; never 0. */
   uint64 length;
   /** Position of its first byte in the file. */
   uint64 position;
   /** A descriptor of the file, open for reading, the caller's to close. Its own position belongs to nobody. */
   int fd;
} VixDiskLibExtFileRange;

/** What `VixDiskLibExt_GetProperty` can tell. */
typedef enum {
   /** 1 if calls on one handle may run in parallel, 0 if not. */
   VIXDISKLIBEXT_PROPERTY_PARALLEL_IO = 1,
   /** Length in sectors that reads and writes should have, and be aligned to, to be fast. */
   VIXDISKLIBEXT_PROPERTY_PREFERRED_IO = 2,
   /** 1 if space can be given back, 0 if `VixDiskLibExt_Trim` refuses. */
   VIXDISKLIBEXT_PROPERTY_TRIM = 3,
   /** 1 if extents are exact to the sector, 0 if they come in chunks of `VIXDISKLIB_MIN_CHUNK_SIZE` sectors. */
   VIXDISKLIBEXT_PROPERTY_EXACT_EXTENTS = 4
} VixDiskLibExtProperty;

/** Makes a range read as zeros; `flags` are bits of `VIXDISKLIBEXT_ZERO_`. */
VixError
VixDiskLibExt_WriteZeroes(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector,
                          VixDiskLibSectorType numSectors, uint32 flags);

/** Gives the space of a range back where the format can; what was given back reads as zeros. */
VixError
VixDiskLibExt_Trim(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector, VixDiskLibSectorType numSectors);

/**
 * Fills `extents` with contiguous, merged runs from `startSector` on, and `*numExtents` with their number. They may
 * cover less than asked when the array is full: go on behind the last one. No alignment is asked for.
 */
VixError
VixDiskLibExt_QueryExtents(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector,
                           VixDiskLibSectorType numSectors, VixDiskLibExtExtent *extents, size_t maxExtents,
                           size_t *numExtents);

/**
 * Where the sectors from `startSector` on lie in a file, for callers who can pass bytes on without reading them. Tells of
 * `numSectors` sectors at most, and of fewer where those behind lie elsewhere. `VIX_E_NOT_SUPPORTED` where they have to be
 * read: holes, compressed data, disks that are open for writing, remote disks, systems without such descriptors.
 */
VixError
VixDiskLibExt_GetFileRange(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector,
                           VixDiskLibSectorType numSectors, VixDiskLibExtFileRange *range);

/** Value of a property of an open disk; `VIX_E_NOT_SUPPORTED` for a property that the library does not know. */
VixError
VixDiskLibExt_GetProperty(VixDiskLibHandle diskHandle, VixDiskLibExtProperty property, uint64 *value);

#ifdef _WIN32
#pragma pack(pop)
#endif

#ifdef __cplusplus
}
#endif

#endif /* _VIXDISKLIB_EXT_H_ */
