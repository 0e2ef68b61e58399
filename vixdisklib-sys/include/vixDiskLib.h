/*
 * VixDiskLib: the C API of VMware's Virtual Disk Development Kit (VDDK), releases 6.7 to 9.x.
 * Part of vixdisklib; licence: MIT OR Apache-2.0.
 *
 * Clean-room: written from published facts, no text is taken from VMware's header. Each item names its source:
 *
 *   guide           Virtual Disk Programming Guide, 6.7 to 8.0 (published manual)
 *   notes X         VDDK release notes of release X
 *   open-vm-tools   its vix.h and vm_basic_types.h (LGPL-2.1)
 *   nbdkit          its vddk plugin (BSD-3-Clause)
 *   safekeeping     VMware's archived backup tool, Java constants and structures (BSD-2-Clause)
 *   ffi gem         ffi-vix_disk_lib of ManageIQ (MIT)
 *   virtual-disks   VMware's Go binding (Apache-2.0)
 *
 * Sectors are always 512 bytes. Strings end in a zero byte and are UTF-8. Pointers must not be null unless their
 * comment says so: the library does not check them. Every function has C linkage and the default calling convention.
 */

#ifndef _VIXDISKLIB_H_
#define _VIXDISKLIB_H_

#include <stdarg.h>
#include <stddef.h>

#include "vm_basic_types.h"

/* A program that already has the VIX API has this block under the same names. Source: guide. */
#ifndef _VIX_H_
#include "vixDiskLibErrors.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Windows packs every structure to 4 bytes; Linux aligns naturally. Source: observed in published bindings. */
#ifdef _WIN32
#pragma pack(push, 4)
#endif

/* ---- Quantities and handles ---- */

/** Bytes in a sector, for every function. Source: nbdkit, safekeeping. */
#define VIXDISKLIB_SECTOR_SIZE 512

/** A position or a length in sectors of 512 bytes. Source: nbdkit, ffi gem. */
typedef uint64 VixDiskLibSectorType;

/** What an open disk points to; opaque. */
struct VixDiskLibHandleStruct;
/** An open disk, from `VixDiskLib_Open` to `VixDiskLib_Close`; null when not open. Source: nbdkit. */
typedef struct VixDiskLibHandleStruct *VixDiskLibHandle;

/** What a connection points to; opaque. The tag has no final "s", unlike the parameters. */
struct VixDiskLibConnectParam;
/** A connection, from `VixDiskLib_Connect` to `VixDiskLib_Disconnect`. Source: nbdkit. */
typedef struct VixDiskLibConnectParam *VixDiskLibConnection;

/* ---- Enumerations ---- */

/** The format of a disk. Source: safekeeping, nbdkit. */
typedef enum {
   /** Hosted, sparse, one file. */
   VIXDISKLIB_DISK_MONOLITHIC_SPARSE = 1,
   /** Hosted, all space allocated, one data file. */
   VIXDISKLIB_DISK_MONOLITHIC_FLAT = 2,
   /** Hosted, sparse, extents of 2 GB. */
   VIXDISKLIB_DISK_SPLIT_SPARSE = 3,
   /** Hosted, all space allocated, extents of 2 GB. */
   VIXDISKLIB_DISK_SPLIT_FLAT = 4,
   /** Managed, all space allocated; also written by hosts in their own descriptor style. */
   VIXDISKLIB_DISK_VMFS_FLAT = 5,
   /** Compressed, to be written from start to end. */
   VIXDISKLIB_DISK_STREAM_OPTIMIZED = 6,
   /** Managed, space allocated on first write. */
   VIXDISKLIB_DISK_VMFS_THIN = 7,
   /** Managed, sparse (redo log). */
   VIXDISKLIB_DISK_VMFS_SPARSE = 8,
   /** Any other format; as a target of `VixDiskLib_SpaceNeededForClone`: the format of the source. */
   VIXDISKLIB_DISK_UNKNOWN = 256
} VixDiskLibDiskType;

/** The controller that a disk is made for. Source: safekeeping, nbdkit. */
typedef enum {
   /** IDE. */
   VIXDISKLIB_ADAPTER_IDE = 1,
   /** BusLogic parallel SCSI. */
   VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC = 2,
   /** LSI Logic parallel SCSI. */
   VIXDISKLIB_ADAPTER_SCSI_LSILOGIC = 3,
   /** Any other controller. */
   VIXDISKLIB_ADAPTER_UNKNOWN = 256
} VixDiskLibAdapterType;

/** Which member of `VixDiskLibCreds` is valid. Source: safekeeping, nbdkit. */
typedef enum {
   /** User name and password: `uid`. */
   VIXDISKLIB_CRED_UID = 1,
   /** Session of a logged-in client: `sessionId`. */
   VIXDISKLIB_CRED_SESSIONID = 2,
   /** Ticket: `ticketId`. Internal to VMware. */
   VIXDISKLIB_CRED_TICKETID = 3,
   /** The Windows account of the process; Windows only. */
   VIXDISKLIB_CRED_SSPI = 4,
   /** None of these. */
   VIXDISKLIB_CRED_UNKNOWN = 256
} VixDiskLibCredType;

/** What a connection is about. Since VDDK 6.7. Source: nbdkit, safekeeping, notes 8.0.1. */
typedef enum {
   /** A virtual machine, named by `vmxSpec`; or nothing, for local disks. */
   VIXDISKLIB_SPEC_VMX = 0,
   /** A first class disk: `spec.vStorageObjSpec`. */
   VIXDISKLIB_SPEC_VSTORAGE_OBJECT = 1,
   /** A datastore: `spec.dsSpec`. Since VDDK 8.0.1; the number is that of its release notes, not seen elsewhere. */
   VIXDISKLIB_SPEC_DATASTORE = 2,
   /** End marker of VDDK 6.7 and 7.0, its later value is not known: never send it, never compare with it. */
   VIXDISKLIB_SPEC_UNKNOWN = 2
} VixDiskLibSpecType;

/* ---- Constants ---- */

/** Virtual hardware of Workstation 4. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_WORKSTATION_4 3
/** Virtual hardware of Workstation 5. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_WORKSTATION_5 4
/** Virtual hardware of ESX 3.0. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX30 4
/** Virtual hardware of Workstation 6. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_WORKSTATION_6 6
/** Virtual hardware of ESX 4. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX4X 7
/** Virtual hardware of ESXi 5.0. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX50 8
/** Virtual hardware of ESXi 5.1. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX51 9
/** Virtual hardware of ESXi 5.5. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX55 10
/** Virtual hardware of ESXi 6.0. Source: nbdkit, safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX60 11
/** Virtual hardware of ESXi 6.5. Source: nbdkit, safekeeping. */
#define VIXDISKLIB_HWVERSION_ESX65 13
/** The newest virtual hardware that VDDK 6.7 names; later releases may name another. Source: safekeeping. */
#define VIXDISKLIB_HWVERSION_CURRENT VIXDISKLIB_HWVERSION_ESX65

/** Open without the cache of the host; with HotAdd, buffers must then be aligned. Source: guide, nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_UNBUFFERED (1 << 0)
/** Open this link of a chain alone, without its parents; hosted disks only. Source: guide, nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_SINGLE_LINK (1 << 1)
/** Open for reading only. Source: guide, nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_READ_ONLY (1 << 2)
/** Compress NBDSSL traffic with zlib. Since VDDK 6.5; at most one compression flag. Source: nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB (1 << 4)
/** Compress NBDSSL traffic with FastLZ. Since VDDK 6.5. Source: nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ (1 << 5)
/** Leave out blocks of zeros in NBDSSL traffic. Since VDDK 6.5. Source: nbdkit. */
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ (1 << 6)
/** The six bits that are set aside for compression. Since VDDK 6.5. Source: safekeeping. */
#define VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK 0x3F0

/** Smallest chunk of `VixDiskLib_QueryAllocatedBlocks`, in sectors: 64 KiB. Source: guide, nbdkit. */
#define VIXDISKLIB_MIN_CHUNK_SIZE 128
/** Largest chunk of `VixDiskLib_QueryAllocatedBlocks`, in sectors: 64 MiB. Source: safekeeping only. */
#define VIXDISKLIB_MAX_CHUNK_SIZE 131072
/** Most chunks that one call of `VixDiskLib_QueryAllocatedBlocks` covers. Source: guide, nbdkit. */
#define VIXDISKLIB_MAX_CHUNK_NUMBER (512 * 1024)

/* ---- Disks ---- */

/** Cylinders, heads and sectors per track. Source: guide, nbdkit. */
typedef struct {
   /** Cylinders. */
   uint32 cylinders;
   /** Heads, that is tracks per cylinder. */
   uint32 heads;
   /** Sectors per track. */
   uint32 sectors;
} VixDiskLibGeometry;

/**
 * How to create a disk. VDDK before 7.0 reads only up to `capacity`; later ones read it all, so always pass the whole
 * structure, zeroed first. Source: nbdkit, guide.
 */
typedef struct {
   /** Format. */
   VixDiskLibDiskType diskType;
   /** Controller. */
   VixDiskLibAdapterType adapterType;
   /** Virtual hardware version, a `VIXDISKLIB_HWVERSION_` number. */
   uint16 hwVersion;
   /** Capacity in sectors. */
   VixDiskLibSectorType capacity;
   /** Logical sector size of the medium in bytes; 0 for the default, 512. Since VDDK 7.0. */
   uint32 logicalSectorSize;
   /** Physical sector size of the medium in bytes; 0 for the default. Since VDDK 7.0. */
   uint32 physicalSectorSize;
} VixDiskLibCreateParams;

/**
 * What `VixDiskLib_GetInfo` tells. The library allocates it: before VDDK 7.0 without the last two members, which must
 * not be read then. Source: nbdkit, guide.
 */
typedef struct {
   /** Geometry that the BIOS shows. */
   VixDiskLibGeometry biosGeo;
   /** Geometry of the disk itself. */
   VixDiskLibGeometry physGeo;
   /** Capacity in sectors. */
   VixDiskLibSectorType capacity;
   /** Controller. */
   VixDiskLibAdapterType adapterType;
   /** Number of links of the chain: the base and every redo log that is open. */
   int numLinks;
   /** Where the parent is expected; may be null. */
   char *parentFileNameHint;
   /** UUID of the disk as text; may be null. */
   char *uuid;
   /** Logical sector size of the medium in bytes. Since VDDK 7.0. */
   uint32 logicalSectorSize;
   /** Physical sector size of the medium in bytes. Since VDDK 7.0. */
   uint32 physicalSectorSize;
} VixDiskLibInfo;

/** One allocated run. Since VDDK 6.7. Source: guide, nbdkit. */
typedef struct {
   /** First sector. */
   VixDiskLibSectorType offset;
   /** Length in sectors. */
   VixDiskLibSectorType length;
} VixDiskLibBlock;

/** The allocated runs of a range, ordered and merged. Since VDDK 6.7. Source: guide, nbdkit. */
typedef struct {
   /** Number of runs; may be 0. */
   uint32 numBlocks;
   /** The runs: really `numBlocks` of them. */
   VixDiskLibBlock blocks[1];
} VixDiskLibBlockList;

/* ---- Connections ---- */

/** User name and password. Source: nbdkit, ffi gem. */
typedef struct {
   /** User name. */
   char *userName;
   /** Password. */
   char *password;
} VixDiskLibUidPasswdCreds;

/** The session of a client that has logged in already. Source: nbdkit, ffi gem. */
typedef struct {
   /** Value of the session cookie of vCenter. */
   char *cookie;
   /** User name. */
   char *userName;
   /** Password. */
   char *key;
} VixDiskLibSessionIdCreds;

/** A ticket; opaque, internal to VMware. */
struct VixDiskLibTicketIdCreds;

/** Credentials; `credType` says which member is valid. Source: nbdkit, ffi gem. The type's name is ours. */
typedef union {
   /** For `VIXDISKLIB_CRED_UID`. */
   VixDiskLibUidPasswdCreds uid;
   /** For `VIXDISKLIB_CRED_SESSIONID`. */
   VixDiskLibSessionIdCreds sessionId;
   /** For `VIXDISKLIB_CRED_TICKETID`; internal to VMware. */
   struct VixDiskLibTicketIdCreds *ticketId;
} VixDiskLibCreds;

/** A first class disk. Since VDDK 6.7. Source: nbdkit, safekeeping. */
typedef struct {
   /** Identity of the disk. */
   char *id;
   /** Managed object reference of its datastore, such as `datastore-11`. */
   char *datastoreMoRef;
   /** Identity of its snapshot; null or empty without one. */
   char *ssId;
} VixDiskLibVStorageObjectSpec;

/** A datastore. Public since VDDK 8.0.1. Source: notes 8.0.1 and a published Python binding. */
typedef struct {
   /** Managed object reference of the datastore. */
   char *datastoreMoRef;
   /** Folder of the disks; its exact meaning is not published. */
   char *diskFolder;
} VixDiskLibDatastoreSpec;

/** What the connection is about; `specType` says which member is valid. Source: nbdkit. The type's name is ours. */
typedef union {
   /** For `VIXDISKLIB_SPEC_VSTORAGE_OBJECT`. */
   VixDiskLibVStorageObjectSpec vStorageObjSpec;
   /** For `VIXDISKLIB_SPEC_DATASTORE`. */
   VixDiskLibDatastoreSpec dsSpec;
} VixDiskLibSpec;

/** State that the library keeps with parameters which it allocated; opaque. */
struct VixDiskLibConnectParamsState;

/**
 * Where to connect to, and as whom. Take it from `VixDiskLib_AllocateConnectParams` where that exists, otherwise zero
 * the whole structure. All null and zero means local disks. Source: nbdkit, safekeeping.
 */
typedef struct {
   /** Virtual machine, as `moref=vm-16`; null for local disks, first class disks and datastores. */
   char *vmxSpec;
   /** DNS name or address of the vCenter or ESXi server. */
   char *serverName;
   /** Fingerprint of the server's certificate: SHA-1, 20 pairs of hex digits with colons between. */
   char *thumbPrint;
   /** Not used; 0. A `long`: 8 bytes on Linux, 4 on Windows. */
   long privateUse;
   /** Kind of `creds`. */
   VixDiskLibCredType credType;
   /** Credentials. */
   VixDiskLibCreds creds;
   /** Port of the server; 0 for 443. */
   uint32 port;
   /** NFC port of the ESXi host; 0 for 902. */
   uint32 nfcHostPort;
   /** Private; null. */
   char *vimApiVer;
   /** Private; zeros. Since VDDK 6.7. */
   char reserved[8];
   /** Private state of the library. Since VDDK 6.7. */
   struct VixDiskLibConnectParamsState *state;
   /** What the connection is about, if not a virtual machine. Since VDDK 6.7. */
   VixDiskLibSpec spec;
   /** Kind of `spec`. Since VDDK 6.7. */
   VixDiskLibSpecType specType;
} VixDiskLibConnectParams;

/* ---- Callbacks: none may unwind, block for long, or call the library ---- */

/** Takes one log line in the form of `vprintf`; any thread may call it. Source: guide, nbdkit. */
typedef void (VixDiskLibGenericLogFunc)(const char *fmt, va_list args);

/** As `VixDiskLibGenericLogFunc` with a routing number; no public function takes it. Source: guide. */
typedef void (VixDiskLibGenericLogVFunc)(int routing, const char *fmt, va_list args);

/** Hears of progress, 0 to 100, on the calling thread; what it returns is ignored. Source: guide, safekeeping. */
typedef Bool (*VixDiskLibProgressFunc)(void *progressData, int percentCompleted);

/** Hears, exactly once, that an accepted request is done; maybe before the call returns. Source: guide, nbdkit. */
typedef void (*VixDiskLibCompletionCB)(void *cbData, VixError result);

/* ---- Life cycle ---- */

/**
 * Starts the library; as `VixDiskLib_InitEx` without a configuration file. Since VDDK 1.0. Source: guide.
 */
VixError
VixDiskLib_Init(uint32 majorVersion, uint32 minorVersion, VixDiskLibGenericLogFunc *log,
                VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir);

/**
 * Starts the library, once per process, from its main thread. The callbacks, `libDir` (root of the distribution) and
 * `configFile` may be null. Since VDDK 1.1. Source: guide, nbdkit.
 */
VixError
VixDiskLib_InitEx(uint32 majorVersion, uint32 minorVersion, VixDiskLibGenericLogFunc *log,
                  VixDiskLibGenericLogFunc *warn, VixDiskLibGenericLogFunc *panic, const char *libDir,
                  const char *configFile);

/** Stops the library, after everything is closed. Since VDDK 1.0. Source: guide. */
void
VixDiskLib_Exit(void);

/** Names of the transports with colons between, in default order; never freed. Since VDDK 1.1. Source: guide. */
const char *
VixDiskLib_ListTransportModes(void);

/**
 * Clears up after a process that died. `vmxSpec` must be null; both counters may be null. Since VDDK 1.1.
 * Source: guide.
 */
VixError
VixDiskLib_Cleanup(const VixDiskLibConnectParams *connectParams, uint32 *numCleanedUp, uint32 *numRemaining);

/** English text of an error, or null; `locale` is null. Since VDDK 1.0. Source: guide, nbdkit. */
char *
VixDiskLib_GetErrorText(VixError err, const char *locale);

/** Frees the text of an error; null is allowed. Since VDDK 1.0. Source: guide, nbdkit. */
void
VixDiskLib_FreeErrorText(char *errMsg);

/* ---- Connecting ---- */

/** Zeroed parameters with the library's own state, or null. Since VDDK 6.7. Source: nbdkit, safekeeping. */
VixDiskLibConnectParams *
VixDiskLib_AllocateConnectParams(void);

/**
 * Frees parameters from `VixDiskLib_AllocateConnectParams` (not the strings that the caller put in) or
 * `VixDiskLib_GetConnectParams` (with all strings). Source: guide, nbdkit.
 */
void
VixDiskLib_FreeConnectParams(VixDiskLibConnectParams *connectParams);

/** A copy of the parameters of a connection, secrets included. Source: guide, ffi gem. */
VixError
VixDiskLib_GetConnectParams(const VixDiskLibConnection connection, VixDiskLibConnectParams **connectParams);

/** Connects; null or zeroed parameters mean local disks. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Connect(const VixDiskLibConnectParams *connectParams, VixDiskLibConnection *connection);

/**
 * Connects with a choice of access, snapshot and transports; both strings may be null. Failures may show only when a
 * disk is opened. Since VDDK 1.1. Source: guide, nbdkit.
 */
VixError
VixDiskLib_ConnectEx(const VixDiskLibConnectParams *connectParams, Bool readOnly, const char *snapshotRef,
                     const char *transportModes, VixDiskLibConnection *connection);

/** Ends a connection, after its disks are closed. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Disconnect(VixDiskLibConnection connection);

/** Keeps vCenter from moving the virtual machine; before its snapshot is made. Since VDDK 5.0. Source: guide. */
VixError
VixDiskLib_PrepareForAccess(const VixDiskLibConnectParams *connectParams, const char *identity);

/** Undoes `VixDiskLib_PrepareForAccess`; due even when that failed. Since VDDK 5.0. Source: guide. */
VixError
VixDiskLib_EndAccess(const VixDiskLibConnectParams *connectParams, const char *identity);

/* ---- Opening and closing: never two of these at once in a process ---- */

/** Opens a disk; `*diskHandle` is null on failure. Since VDDK 1.0. Source: guide, nbdkit. */
VixError
VixDiskLib_Open(const VixDiskLibConnection connection, const char *path, uint32 flags, VixDiskLibHandle *diskHandle);

/** Flushes and closes a disk. Since VDDK 1.0. Source: guide, nbdkit. */
VixError
VixDiskLib_Close(VixDiskLibHandle diskHandle);

/** What is known of a disk; free with `VixDiskLib_FreeInfo`. Since VDDK 1.0. Source: guide, nbdkit. */
VixError
VixDiskLib_GetInfo(VixDiskLibHandle diskHandle, VixDiskLibInfo **info);

/** Frees what `VixDiskLib_GetInfo` gave. Since VDDK 1.0. Source: guide, nbdkit. */
void
VixDiskLib_FreeInfo(VixDiskLibInfo *info);

/** Name of the transport that was chosen for a disk; never freed. Since VDDK 1.1. Source: guide, nbdkit. */
const char *
VixDiskLib_GetTransportMode(VixDiskLibHandle diskHandle);

/* ---- Reading and writing: one call at a time on a handle ---- */

/** Reads whole sectors, all or none. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Read(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector, VixDiskLibSectorType numSectors,
                uint8 *readBuffer);

/** Writes whole sectors. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Write(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector, VixDiskLibSectorType numSectors,
                 const uint8 *writeBuffer);

/**
 * Reads without waiting: `VIX_ASYNC` means accepted, and the callback comes exactly once; anything else means that it
 * never comes. The buffer belongs to the library until then. Since VDDK 6.0. Source: guide, nbdkit.
 */
VixError
VixDiskLib_ReadAsync(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector, VixDiskLibSectorType numSectors,
                     uint8 *readBuffer, VixDiskLibCompletionCB callback, void *cbData);

/** Writes without waiting; as `VixDiskLib_ReadAsync`. Since VDDK 6.0. Source: guide, nbdkit. */
VixError
VixDiskLib_WriteAsync(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector, VixDiskLibSectorType numSectors,
                      const uint8 *writeBuffer, VixDiskLibCompletionCB callback, void *cbData);

/** Waits until every accepted request of a disk has called back. Since VDDK 6.5. Source: guide, nbdkit. */
VixError
VixDiskLib_Wait(VixDiskLibHandle diskHandle);

/** Makes local writes durable; wait first. Since VDDK 6.0. Source: nbdkit. */
VixError
VixDiskLib_Flush(VixDiskLibHandle diskHandle);

/**
 * Allocated runs of a range. All lengths are sectors; start and length must be multiples of `chunkSize`, which must be
 * at least `VIXDISKLIB_MIN_CHUNK_SIZE`; at most `VIXDISKLIB_MAX_CHUNK_NUMBER` chunks. Free with
 * `VixDiskLib_FreeBlockList`. Since VDDK 6.7. Source: guide, nbdkit.
 */
VixError
VixDiskLib_QueryAllocatedBlocks(VixDiskLibHandle diskHandle, VixDiskLibSectorType startSector,
                                VixDiskLibSectorType numSectors, VixDiskLibSectorType chunkSize,
                                VixDiskLibBlockList **blockList);

/** Frees a list of runs. Since VDDK 6.7. Source: guide, nbdkit. */
VixError
VixDiskLib_FreeBlockList(VixDiskLibBlockList *blockList);

/* ---- Metadata: the disk database of the descriptor, without its "ddb." ---- */

/**
 * Value of a key with its zero byte. A buffer that is too small stays as it is, the result is
 * `VIX_E_BUFFER_TOOSMALL`, and `*requiredLen` the size in bytes. Since VDDK 1.0. Source: guide.
 */
VixError
VixDiskLib_ReadMetadata(VixDiskLibHandle diskHandle, const char *key, char *buf, size_t bufLen, size_t *requiredLen);

/** Adds or replaces a key. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_WriteMetadata(VixDiskLibHandle diskHandle, const char *key, const char *val);

/**
 * All keys, each with its zero byte, and one more zero byte at the end; sizes as for `VixDiskLib_ReadMetadata`.
 * Since VDDK 1.0. Source: guide.
 */
VixError
VixDiskLib_GetMetadataKeys(VixDiskLibHandle diskHandle, char *keys, size_t maxLen, size_t *requiredLen);

/* ---- Creating and reshaping; progress functions may be null ---- */

/** Creates a hosted disk at a path where nothing is. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Create(const VixDiskLibConnection connection, const char *path, const VixDiskLibCreateParams *createParams,
                  VixDiskLibProgressFunc progressFunc, void *progressCallbackData);

/** Creates a hosted child of an open disk. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_CreateChild(VixDiskLibHandle diskHandle, const char *childPath, VixDiskLibDiskType diskType,
                       VixDiskLibProgressFunc progressFunc, void *progressCallbackData);

/** Deletes a hosted disk with all its files. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Unlink(VixDiskLibConnection connection, const char *path);

/** Enlarges a hosted disk, which must not be open, to `capacity` sectors. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Grow(VixDiskLibConnection connection, const char *path, VixDiskLibSectorType capacity, Bool updateGeometry,
                VixDiskLibProgressFunc progressFunc, void *progressCallbackData);

/** Gives zeroed space of a hosted sparse disk back. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Shrink(VixDiskLibHandle diskHandle, VixDiskLibProgressFunc progressFunc, void *progressCallbackData);

/** Puts the data of a hosted sparse disk in order. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Defragment(VixDiskLibHandle diskHandle, VixDiskLibProgressFunc progressFunc, void *progressCallbackData);

/** Renames a hosted disk with all its files. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Rename(const char *srcFileName, const char *dstFileName);

/** Copies a disk between any two connections. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_Clone(const VixDiskLibConnection dstConnection, const char *dstPath,
                 const VixDiskLibConnection srcConnection, const char *srcPath,
                 const VixDiskLibCreateParams *vixCreateParams, VixDiskLibProgressFunc progressFunc,
                 void *progressCallbackData, Bool overWrite);

/** Bytes that a copy in another format takes. Since VDDK 1.0. Source: guide. */
VixError
VixDiskLib_SpaceNeededForClone(VixDiskLibHandle diskHandle, VixDiskLibDiskType cloneDiskType, uint64 *spaceNeeded);

/** Checks, and if asked repairs, the tables of a hosted sparse disk. Source: guide, safekeeping. */
VixError
VixDiskLib_CheckRepair(const VixDiskLibConnection connection, const char *filename, Bool repair);

/** Whether `VixDiskLib_Attach` would accept these two. Source: guide, safekeeping. */
VixError
VixDiskLib_IsAttachPossible(VixDiskLibHandle parent, VixDiskLibHandle child);

/** Joins a child, opened alone, to a parent, whose handle does no more I/O from then on. Source: guide. */
VixError
VixDiskLib_Attach(VixDiskLibHandle parent, VixDiskLibHandle child);

#ifdef _WIN32
#pragma pack(pop)
#endif

#ifdef __cplusplus
}
#endif

#endif /* _VIXDISKLIB_H_ */
