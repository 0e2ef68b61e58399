/*
 * VixMntapi: the mount API of VMware's Virtual Disk Development Kit (VDDK), releases 6.7 to 9.x.
 * Part of vixdisklib; licence: MIT OR Apache-2.0.
 *
 * Clean-room: written from published facts, no text is taken from VMware's header. Sources: the mount chapter of the
 * Virtual Disk Programming Guide, 6.7 to 8.0 ("guide"), and VMware's archived safekeeping project (BSD-2-Clause).
 *
 * Every function needs an initialised VixDiskLib. Serialize all calls of a process.
 */

#ifndef _VIXMNTAPI_H_
#define _VIXMNTAPI_H_

#include "vixDiskLib.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Windows packs every structure to 4 bytes; Linux aligns naturally. Source: observed in published bindings. */
#ifdef _WIN32
#pragma pack(push, 4)
#endif

/** Major version for `VixMntapi_Init`. Source: guide, safekeeping. */
#define VIXMNTAPI_MAJOR_VERSION 1
/** Minor version for `VixMntapi_Init`. Source: guide, safekeeping. */
#define VIXMNTAPI_MINOR_VERSION 0

/**
 * Family of the operating system on a disk. Source: guide for 0, 1 and 255; safekeeping, which is about VDDK 6.7 and
 * 7.0, for 2 to 8, whose names are ours. Expect both ways of saying "other".
 */
typedef enum {
   /** No operating system. */
   VIXMNTAPI_NO_OS = 0,
   /** Windows. */
   VIXMNTAPI_WINDOWS = 1,
   /** Linux. */
   VIXMNTAPI_LINUX = 2,
   /** NetWare. */
   VIXMNTAPI_NETWARE = 3,
   /** Solaris. */
   VIXMNTAPI_SOLARIS = 4,
   /** FreeBSD. */
   VIXMNTAPI_FREEBSD = 5,
   /** OS/2. */
   VIXMNTAPI_OS2 = 6,
   /** Darwin. */
   VIXMNTAPI_DARWIN = 7,
   /** Any other, as VDDK 6.7 and 7.0 number it. */
   VIXMNTAPI_OTHER_OS = 8,
   /** Any other, as older releases number it. */
   VIXMNTAPI_OTHER = 255
} VixOsFamily;

/** The operating system on a disk set. Source: guide, safekeeping. */
typedef struct {
   /** Family. */
   VixOsFamily family;
   /** Major version; of Windows: 4 for NT, 5 and more for 2000 and later. */
   uint32 majorVersion;
   /** Minor version. */
   uint32 minorVersion;
   /** Whether it is a 64-bit system. */
   Bool osIs64Bit;
   /** Vendor. */
   char *vendor;
   /** Edition. */
   char *edition;
   /** Where the system is installed. */
   char *osFolder;
} VixOsInfo;

/** The kind of a volume. Source: guide, safekeeping. */
typedef enum {
   /** Any other. */
   VIXMNTAPI_UNKNOWN_VOLTYPE = 0,
   /** Partition of an MBR table. */
   VIXMNTAPI_BASIC_PARTITION = 1,
   /** Partition of a GPT. */
   VIXMNTAPI_GPT_PARTITION = 2,
   /** Dynamic volume of Windows. */
   VIXMNTAPI_DYNAMIC_VOLUME = 3,
   /** Logical volume of Linux. */
   VIXMNTAPI_LVM_VOLUME = 4
} VixVolumeType;

/** A volume. Source: guide, safekeeping. */
typedef struct {
   /** Kind. */
   VixVolumeType type;
   /** Whether it is mounted on this machine. */
   Bool isMounted;
   /** Where it is mounted; null when it is not. */
   char *symbolicLink;
   /** Length of `inGuestMountPoints`; Windows only. */
   size_t numGuestMountPoints;
   /** Drive letters and folders in the guest: really `numGuestMountPoints` of them. */
   char *inGuestMountPoints[1];
} VixVolumeInfo;

/** A disk set. Source: guide. */
typedef struct {
   /** Flags that its disks were opened with. */
   uint32 openFlags;
   /** Directory of the disk's FUSE view; Linux only. */
   char *mountPath;
} VixDiskSetInfo;

/** What a disk set points to; opaque. */
struct VixDiskSetHandleStruct;
/** An open disk set. Source: guide. */
typedef struct VixDiskSetHandleStruct *VixDiskSetHandle;

/** What a volume points to; opaque. */
struct VixVolumeHandleStruct;
/** A volume of a disk set. Source: guide. */
typedef struct VixVolumeHandleStruct *VixVolumeHandle;

/**
 * Starts the mount library, once per process, with version 1.0. The callbacks, `libDir` and `configFile` may be null.
 * Needs root or administrator rights. Source: guide.
 */
VixError
VixMntapi_Init(uint32 majorVersion, uint32 minorVersion, VixDiskLibGenericLogFunc *log,
               VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir,
               const char *configFile);

/** Stops the mount library: after every set is closed, before `VixDiskLib_Exit`. Source: guide. */
void
VixMntapi_Exit(void);

#ifdef _WIN32
/** Makes a set of open disks. Windows only. `openMode` is 0, or the read-only flag. Source: guide. */
VixError
VixMntapi_OpenDiskSet(VixDiskLibHandle diskHandles[], size_t numberOfDisks, uint32 openMode,
                      VixDiskSetHandle *diskSet);
#endif

/** Opens disks by name, with the flags of `VixDiskLib_Open`, as a set; on Linux exactly one. Source: guide. */
VixError
VixMntapi_OpenDisks(VixDiskLibConnection connection, const char *diskNames[], size_t numberOfDisks, uint32 openFlags,
                    VixDiskSetHandle *diskSet);

/** What is known of a set; free with `VixMntapi_FreeDiskSetInfo`. Source: guide. */
VixError
VixMntapi_GetDiskSetInfo(VixDiskSetHandle diskSet, VixDiskSetInfo **diskSetInfo);

/** Frees what `VixMntapi_GetDiskSetInfo` gave. Source: guide. */
void
VixMntapi_FreeDiskSetInfo(VixDiskSetInfo *diskSetInfo);

/** Dismounts what is left and closes a set. Source: guide. */
VixError
VixMntapi_CloseDiskSet(VixDiskSetHandle diskSet);

/**
 * The volumes of a set; free with `VixMntapi_FreeVolumeHandles`. Set `*numberOfVolumes` to 0 first: an older
 * description has an `int` there. Source: guide, safekeeping.
 */
VixError
VixMntapi_GetVolumeHandles(VixDiskSetHandle diskSet, size_t *numberOfVolumes, VixVolumeHandle *volumeHandles[]);

/** Frees what `VixMntapi_GetVolumeHandles` gave. Source: guide. */
void
VixMntapi_FreeVolumeHandles(VixVolumeHandle *volumeHandles);

/**
 * The operating system on a set, whose system and boot volumes are mounted. Only for Windows guests on Windows. Free
 * with `VixMntapi_FreeOsInfo`. Source: guide.
 */
VixError
VixMntapi_GetOsInfo(VixDiskSetHandle diskSet, VixOsInfo **info);

/** Frees what `VixMntapi_GetOsInfo` gave. Source: guide. */
void
VixMntapi_FreeOsInfo(VixOsInfo *info);

/** Mounts a volume and locks its disks. Source: guide. */
VixError
VixMntapi_MountVolume(VixVolumeHandle volumeHandle, Bool readOnly);

/** Dismounts a volume; `force` closes files that are open. Source: guide. */
VixError
VixMntapi_DismountVolume(VixVolumeHandle volumeHandle, Bool force);

/** What is known of a mounted volume; free with `VixMntapi_FreeVolumeInfo`. Source: guide. */
VixError
VixMntapi_GetVolumeInfo(VixVolumeHandle volumeHandle, VixVolumeInfo **info);

/** Frees what `VixMntapi_GetVolumeInfo` gave. Source: guide. */
void
VixMntapi_FreeVolumeInfo(VixVolumeInfo *info);

#ifdef _WIN32
#pragma pack(pop)
#endif

#ifdef __cplusplus
}
#endif

#endif /* _VIXMNTAPI_H_ */
