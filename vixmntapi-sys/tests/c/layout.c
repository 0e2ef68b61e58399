/*
 * Sizes and offsets of every structure, as published tables and bindings give them: natural alignment on Linux,
 * 4-byte packing on Windows, both x86-64. To compile is to pass.
 */

#include "vixMntapi.h"

#ifdef _WIN32
#define NUMBER(linux_bytes, windows_bytes) (windows_bytes)
#else
#define NUMBER(linux_bytes, windows_bytes) (linux_bytes)
#endif

#define SIZE(type, linux_bytes, windows_bytes) \
   _Static_assert(sizeof(type) == NUMBER(linux_bytes, windows_bytes), "size of " #type)
#define OFFSET(type, member, linux_bytes, windows_bytes) \
   _Static_assert(offsetof(type, member) == NUMBER(linux_bytes, windows_bytes), "offset of " #type "." #member)

SIZE(VixOsFamily, 4, 4);
SIZE(VixVolumeType, 4, 4);
SIZE(VixDiskSetHandle, 8, 8);
SIZE(VixVolumeHandle, 8, 8);

SIZE(VixOsInfo, 40, 40);
OFFSET(VixOsInfo, family, 0, 0);
OFFSET(VixOsInfo, majorVersion, 4, 4);
OFFSET(VixOsInfo, minorVersion, 8, 8);
OFFSET(VixOsInfo, osIs64Bit, 12, 12);
OFFSET(VixOsInfo, vendor, 16, 16);
OFFSET(VixOsInfo, edition, 24, 24);
OFFSET(VixOsInfo, osFolder, 32, 32);

SIZE(VixVolumeInfo, 32, 32);
OFFSET(VixVolumeInfo, type, 0, 0);
OFFSET(VixVolumeInfo, isMounted, 4, 4);
OFFSET(VixVolumeInfo, symbolicLink, 8, 8);
OFFSET(VixVolumeInfo, numGuestMountPoints, 16, 16);
OFFSET(VixVolumeInfo, inGuestMountPoints, 24, 24);

SIZE(VixDiskSetInfo, 16, 12);
OFFSET(VixDiskSetInfo, openFlags, 0, 0);
OFFSET(VixDiskSetInfo, mountPath, 8, 4);
