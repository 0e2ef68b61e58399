/*
 * Sizes and offsets of every structure, as published tables and bindings give them: natural alignment on Linux,
 * 4-byte packing on Windows, both x86-64. To compile is to pass.
 */

#include "vixDiskLibExt.h"

#ifdef __cplusplus
#define _Static_assert static_assert
#define _Alignof alignof
#endif

#ifdef _WIN32
#define NUMBER(linux_bytes, windows_bytes) (windows_bytes)
#else
#define NUMBER(linux_bytes, windows_bytes) (linux_bytes)
#endif

#define SIZE(type, linux_bytes, windows_bytes) \
   _Static_assert(sizeof(type) == NUMBER(linux_bytes, windows_bytes), "size of " #type)
#define ALIGNMENT(type, linux_bytes, windows_bytes) \
   _Static_assert(_Alignof(type) == NUMBER(linux_bytes, windows_bytes), "alignment of " #type)
#define OFFSET(type, member, linux_bytes, windows_bytes) \
   _Static_assert(offsetof(type, member) == NUMBER(linux_bytes, windows_bytes), "offset of " #type "." #member)

SIZE(uint8, 1, 1);
SIZE(uint16, 2, 2);
SIZE(uint32, 4, 4);
SIZE(uint64, 8, 8);
SIZE(int32, 4, 4);
SIZE(int64, 8, 8);
SIZE(Bool, 1, 1);
SIZE(VixError, 8, 8);
SIZE(VixDiskLibSectorType, 8, 8);
SIZE(VixDiskLibHandle, 8, 8);
SIZE(VixDiskLibConnection, 8, 8);
SIZE(VixDiskLibProgressFunc, 8, 8);
SIZE(VixDiskLibCompletionCB, 8, 8);
SIZE(VixDiskLibDiskType, 4, 4);
SIZE(VixDiskLibAdapterType, 4, 4);
SIZE(VixDiskLibCredType, 4, 4);
SIZE(VixDiskLibSpecType, 4, 4);
SIZE(VixDiskLibExtProperty, 4, 4);

SIZE(VixDiskLibGeometry, 12, 12);
OFFSET(VixDiskLibGeometry, cylinders, 0, 0);
OFFSET(VixDiskLibGeometry, heads, 4, 4);
OFFSET(VixDiskLibGeometry, sectors, 8, 8);

SIZE(VixDiskLibCreateParams, 32, 28);
OFFSET(VixDiskLibCreateParams, diskType, 0, 0);
OFFSET(VixDiskLibCreateParams, adapterType, 4, 4);
OFFSET(VixDiskLibCreateParams, hwVersion, 8, 8);
OFFSET(VixDiskLibCreateParams, capacity, 16, 12);
OFFSET(VixDiskLibCreateParams, logicalSectorSize, 24, 20);
OFFSET(VixDiskLibCreateParams, physicalSectorSize, 28, 24);

SIZE(VixDiskLibInfo, 64, 64);
OFFSET(VixDiskLibInfo, biosGeo, 0, 0);
OFFSET(VixDiskLibInfo, physGeo, 12, 12);
OFFSET(VixDiskLibInfo, capacity, 24, 24);
OFFSET(VixDiskLibInfo, adapterType, 32, 32);
OFFSET(VixDiskLibInfo, numLinks, 36, 36);
OFFSET(VixDiskLibInfo, parentFileNameHint, 40, 40);
OFFSET(VixDiskLibInfo, uuid, 48, 48);
OFFSET(VixDiskLibInfo, logicalSectorSize, 56, 56);
OFFSET(VixDiskLibInfo, physicalSectorSize, 60, 60);

SIZE(VixDiskLibBlock, 16, 16);
OFFSET(VixDiskLibBlock, offset, 0, 0);
OFFSET(VixDiskLibBlock, length, 8, 8);

SIZE(VixDiskLibBlockList, 24, 20);
OFFSET(VixDiskLibBlockList, numBlocks, 0, 0);
OFFSET(VixDiskLibBlockList, blocks, 8, 4);

SIZE(VixDiskLibUidPasswdCreds, 16, 16);
OFFSET(VixDiskLibUidPasswdCreds, userName, 0, 0);
OFFSET(VixDiskLibUidPasswdCreds, password, 8, 8);

SIZE(VixDiskLibSessionIdCreds, 24, 24);
OFFSET(VixDiskLibSessionIdCreds, cookie, 0, 0);
OFFSET(VixDiskLibSessionIdCreds, userName, 8, 8);
OFFSET(VixDiskLibSessionIdCreds, key, 16, 16);

SIZE(VixDiskLibCreds, 24, 24);
ALIGNMENT(VixDiskLibCreds, 8, 4);

SIZE(VixDiskLibVStorageObjectSpec, 24, 24);
OFFSET(VixDiskLibVStorageObjectSpec, id, 0, 0);
OFFSET(VixDiskLibVStorageObjectSpec, datastoreMoRef, 8, 8);
OFFSET(VixDiskLibVStorageObjectSpec, ssId, 16, 16);

SIZE(VixDiskLibDatastoreSpec, 16, 16);
OFFSET(VixDiskLibDatastoreSpec, datastoreMoRef, 0, 0);
OFFSET(VixDiskLibDatastoreSpec, diskFolder, 8, 8);

SIZE(VixDiskLibSpec, 24, 24);

SIZE(VixDiskLibConnectParams, 128, 116);
ALIGNMENT(VixDiskLibConnectParams, 8, 4);
OFFSET(VixDiskLibConnectParams, vmxSpec, 0, 0);
OFFSET(VixDiskLibConnectParams, serverName, 8, 8);
OFFSET(VixDiskLibConnectParams, thumbPrint, 16, 16);
OFFSET(VixDiskLibConnectParams, privateUse, 24, 24);
OFFSET(VixDiskLibConnectParams, credType, 32, 28);
OFFSET(VixDiskLibConnectParams, creds, 40, 32);
OFFSET(VixDiskLibConnectParams, port, 64, 56);
OFFSET(VixDiskLibConnectParams, nfcHostPort, 68, 60);
OFFSET(VixDiskLibConnectParams, vimApiVer, 72, 64);
OFFSET(VixDiskLibConnectParams, reserved, 80, 72);
OFFSET(VixDiskLibConnectParams, state, 88, 80);
OFFSET(VixDiskLibConnectParams, spec, 96, 88);
OFFSET(VixDiskLibConnectParams, specType, 120, 112);

SIZE(VixDiskLibExtExtent, 24, 24);
OFFSET(VixDiskLibExtExtent, offset, 0, 0);
OFFSET(VixDiskLibExtExtent, length, 8, 8);
OFFSET(VixDiskLibExtExtent, flags, 16, 16);
OFFSET(VixDiskLibExtExtent, depth, 20, 20);
