/*
 * The life of a disk, as a program of a user of VDDK has it, in what C and C++ have in common: disks are made, copied,
 * grown, shrunk, put in order, checked, attached, renamed and removed. Any surprise ends it with status 1 and a line that
 * says where. What it leaves in the folder is `whole.vmdk`; what that must hold is in OUTPUT.
 *
 *   life FOLDER OUTPUT
 */

#include "must.h"

#define CAPACITY ((VixDiskLibSectorType)20007)
#define GROWN ((VixDiskLibSectorType)30011)

/* How far an operation was, when its function was last called; what that returns is ignored. */
static Bool
on_progress(void *data, int percent)
{
   int *last = (int *)data;

   CHECK(percent > *last && percent <= 100);
   *last = percent;
   return FALSE;
}

/* A call that succeeds and tells so, with `last` as the data of its progress function. */
#define MUST_TELL(call)      \
   do {                      \
      last = -1;             \
      MUST(call);            \
      CHECK(last == 100);    \
   } while (0)

static const char *folder;

/* The path of a disk in the folder; four of them at a time. */
static const char *
path_of(const char *name)
{
   static char paths[4][4096];
   static int next;
   char *path = paths[next++ % 4];

   CHECK(snprintf(path, sizeof paths[0], "%s/%s.vmdk", folder, name) < (int)sizeof paths[0]);
   return path;
}

static void
create_params(VixDiskLibCreateParams *params, VixDiskLibDiskType type)
{
   memset(params, 0, sizeof *params);
   params->diskType = type;
   params->adapterType = VIXDISKLIB_ADAPTER_SCSI_LSILOGIC;
   params->hwVersion = VIXDISKLIB_HWVERSION_ESX65;
   params->capacity = CAPACITY;
}

/* Writes what differs from sector to sector, to the disk and into `content`. */
static void
write_some(VixDiskLibHandle disk, VixDiskLibSectorType start, VixDiskLibSectorType count, uint8 *content)
{
   uint8 *data = content + start * VIXDISKLIB_SECTOR_SIZE;
   size_t i;

   for (i = 0; i < count * VIXDISKLIB_SECTOR_SIZE; i++) {
      data[i] = (uint8)(1 + (i + i / VIXDISKLIB_SECTOR_SIZE + start) % 251);
   }
   MUST(VixDiskLib_Write(disk, start, count, data));
}

static void
must_hold(VixDiskLibConnection connection, const char *path, const uint8 *content, VixDiskLibSectorType capacity)
{
   VixDiskLibHandle disk = NULL;
   VixDiskLibInfo *info = NULL;
   size_t bytes = (size_t)capacity * VIXDISKLIB_SECTOR_SIZE;
   uint8 *found = (uint8 *)malloc(bytes);

   CHECK(found != NULL);
   MUST(VixDiskLib_Open(connection, path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk));
   MUST(VixDiskLib_GetInfo(disk, &info));
   CHECK(info->capacity == capacity);
   VixDiskLib_FreeInfo(info);
   MUST(VixDiskLib_Read(disk, 0, capacity, found));
   CHECK(memcmp(found, content, bytes) == 0);
   MUST(VixDiskLib_Close(disk));
   free(found);
   MUST(VixDiskLib_CheckRepair(connection, path, FALSE));
}

/* Makes a disk, and shapes it as long as it is open. */
static void
make_and_shape(VixDiskLibConnection connection, uint8 *content)
{
   VixDiskLibCreateParams params;
   VixDiskLibHandle disk = NULL;
   char value[64];
   size_t need = 0;
   int last;

   create_params(&params, VIXDISKLIB_DISK_MONOLITHIC_SPARSE);
   MUST_TELL(VixDiskLib_Create(connection, path_of("first"), &params, on_progress, &last));
   MUST_FAIL(VixDiskLib_Create(connection, path_of("first"), &params, NULL, NULL), VIX_E_FILE_ALREADY_EXISTS);
   params.diskType = VIXDISKLIB_DISK_VMFS_THIN;
   MUST_FAIL(VixDiskLib_Create(connection, path_of("thin"), &params, NULL, NULL), VIX_E_NOT_SUPPORTED);

   MUST(VixDiskLib_Open(connection, path_of("first"), 0, &disk));
   MUST(VixDiskLib_WriteMetadata(disk, "toolsVersion", "12352"));
   MUST(VixDiskLib_ReadMetadata(disk, "toolsVersion", value, sizeof value, &need));
   CHECK(strcmp(value, "12352") == 0);
   write_some(disk, 15000, 3000, content);
   write_some(disk, 100, 5000, content);
   memset(content + 1000 * VIXDISKLIB_SECTOR_SIZE, 0, 2000 * VIXDISKLIB_SECTOR_SIZE);
   MUST(VixDiskLib_Write(disk, 1000, 2000, content + 1000 * VIXDISKLIB_SECTOR_SIZE));
   MUST_TELL(VixDiskLib_Defragment(disk, on_progress, &last));
   MUST_TELL(VixDiskLib_Shrink(disk, on_progress, &last));
   MUST(VixDiskLib_Shrink(disk, NULL, NULL));
   MUST_FAIL(VixDiskLib_Unlink(connection, path_of("first")), VIX_E_FILE_ALREADY_LOCKED);
   MUST_FAIL(VixDiskLib_Rename(path_of("first"), path_of("other")), VIX_E_FILE_ALREADY_LOCKED);
   MUST_FAIL(VixDiskLib_Grow(connection, path_of("first"), GROWN, FALSE, NULL, NULL), VIX_E_FILE_ALREADY_LOCKED);
   MUST(VixDiskLib_Close(disk));
   must_hold(connection, path_of("first"), content, CAPACITY);
}

/* Grows it, renames it, and copies it by way of every kind; the last copy replaces the first. */
static void
copy_around(VixDiskLibConnection connection, const uint8 *content)
{
   static const VixDiskLibDiskType types[] = {
      VIXDISKLIB_DISK_SPLIT_FLAT,       VIXDISKLIB_DISK_STREAM_OPTIMIZED, VIXDISKLIB_DISK_MONOLITHIC_FLAT,
      VIXDISKLIB_DISK_MONOLITHIC_SPARSE, VIXDISKLIB_DISK_VMFS_FLAT,        VIXDISKLIB_DISK_SPLIT_SPARSE,
   };
   VixDiskLibCreateParams params;
   VixDiskLibHandle disk = NULL;
   size_t i;
   int last;

   MUST_TELL(VixDiskLib_Grow(connection, path_of("first"), GROWN, TRUE, on_progress, &last));
   MUST(VixDiskLib_Rename(path_of("first"), path_of("copy")));
   must_hold(connection, path_of("copy"), content, GROWN);
   for (i = 0; i < sizeof types / sizeof types[0]; i++) {
      uint64 space = 0;

      MUST(VixDiskLib_Rename(path_of("copy"), path_of("source")));
      MUST(VixDiskLib_Open(connection, path_of("source"), VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk));
      MUST(VixDiskLib_SpaceNeededForClone(disk, types[i], &space));
      CHECK(space > 0);
      MUST(VixDiskLib_Close(disk));
      create_params(&params, types[i]);
      params.capacity = 0;
      MUST_TELL(VixDiskLib_Clone(connection, path_of("copy"), connection, path_of("source"), &params, on_progress,
                                 &last, FALSE));
      MUST_FAIL(VixDiskLib_Clone(connection, path_of("copy"), connection, path_of("source"), &params, NULL, NULL,
                                 FALSE),
                VIX_E_FILE_ALREADY_EXISTS);
      MUST(VixDiskLib_Clone(connection, path_of("copy"), connection, path_of("source"), &params, NULL, NULL, TRUE));
      MUST(VixDiskLib_Unlink(connection, path_of("source")));
      must_hold(connection, path_of("copy"), content, GROWN);
   }
}

/* Puts a child on it, writes there, and copies both into one. */
static void
attach(VixDiskLibConnection connection, uint8 *content)
{
   VixDiskLibCreateParams params;
   VixDiskLibHandle parent = NULL;
   VixDiskLibHandle child = NULL;
   uint8 sector[VIXDISKLIB_SECTOR_SIZE];
   int last;

   MUST(VixDiskLib_Open(connection, path_of("copy"), VIXDISKLIB_FLAG_OPEN_READ_ONLY, &parent));
   MUST_TELL(VixDiskLib_CreateChild(parent, path_of("child"), VIXDISKLIB_DISK_MONOLITHIC_SPARSE, on_progress, &last));
   MUST(VixDiskLib_Open(connection, path_of("child"), VIXDISKLIB_FLAG_OPEN_SINGLE_LINK, &child));
   MUST_FAIL(VixDiskLib_IsAttachPossible(child, parent), VIX_E_DISK_ATTACH_ROOTLINK);
   MUST(VixDiskLib_IsAttachPossible(parent, child));
   MUST(VixDiskLib_Attach(parent, child));
   MUST_FAIL(VixDiskLib_Read(parent, 0, 1, sector), VIX_E_INVALID_HANDLE);
   write_some(child, 4000, 777, content);
   MUST(VixDiskLib_Close(child));
   MUST(VixDiskLib_Close(parent));

   create_params(&params, VIXDISKLIB_DISK_MONOLITHIC_SPARSE);
   params.capacity = 0;
   MUST(VixDiskLib_Clone(connection, path_of("whole"), connection, path_of("child"), &params, NULL, NULL, FALSE));
   MUST(VixDiskLib_Unlink(connection, path_of("child")));
   MUST(VixDiskLib_Unlink(connection, path_of("copy")));
   must_hold(connection, path_of("whole"), content, GROWN);
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   size_t bytes = (size_t)GROWN * VIXDISKLIB_SECTOR_SIZE;
   uint8 *content = (uint8 *)calloc(bytes, 1);

   CHECK(argc == 3 && content != NULL);
   folder = argv[1];
   MUST(VixDiskLib_InitEx(8, 0, on_log, on_warning, on_warning, NULL, NULL));
   MUST_FAIL(VixDiskLib_PrepareForAccess(NULL, "life"), VIX_E_NOT_SUPPORTED);
   MUST_FAIL(VixDiskLib_EndAccess(NULL, "life"), VIX_E_NOT_SUPPORTED);
   MUST(VixDiskLib_Connect(NULL, &connection));
   make_and_shape(connection, content);
   copy_around(connection, content);
   attach(connection, content);
   MUST(VixDiskLib_Disconnect(connection));
   VixDiskLib_Exit();
   save(argv[2], content, bytes);
   free(content);
   return 0;
}
