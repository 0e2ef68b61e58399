/*
 * A program as users of VDDK write it, in what C and C++ have in common: reads a disk in every way that the API has and
 * prints what it learns; with "rw" it also writes. Any surprise ends it with status 1 and a line that says where.
 *
 *   tour DISK OUTPUT ro|rw
 */

#include "must.h"
#include "vixDiskLibExt.h"

#define CHUNK ((VixDiskLibSectorType)VIXDISKLIB_MIN_CHUNK_SIZE)
#define IN_FLIGHT 8

/* A request in flight. Its callback comes from any thread, and before `VixDiskLib_Wait` returns. */
typedef struct {
   int calls;
   VixError result;
} Request;

static void
done(void *data, VixError result)
{
   Request *request = (Request *)data;

   request->calls++;
   request->result = result;
}

static void
read_all(VixDiskLibHandle disk, VixDiskLibSectorType capacity, uint8 *content)
{
   VixDiskLibSectorType start;

   for (start = 0; start < capacity; start += 1000) {
      VixDiskLibSectorType count = capacity - start < 1000 ? capacity - start : 1000;

      MUST(VixDiskLib_Read(disk, start, count, content + start * VIXDISKLIB_SECTOR_SIZE));
   }
   MUST_FAIL(VixDiskLib_Read(disk, capacity, 1, content), VIX_E_DISK_OUTOFRANGE);
   MUST_FAIL(VixDiskLib_Read(disk, capacity - 1, 2, content), VIX_E_DISK_OUTOFRANGE);
}

static void
read_all_async(VixDiskLibHandle disk, VixDiskLibSectorType capacity, uint8 *content)
{
   Request requests[IN_FLIGHT];
   VixDiskLibSectorType piece = capacity / IN_FLIGHT;
   int i;

   memset(requests, 0, sizeof requests);
   for (i = 0; i < IN_FLIGHT; i++) {
      VixDiskLibSectorType start = piece * (VixDiskLibSectorType)i;
      VixDiskLibSectorType count = i == IN_FLIGHT - 1 ? capacity - start : piece;
      VixError result =
         VixDiskLib_ReadAsync(disk, start, count, content + start * VIXDISKLIB_SECTOR_SIZE, done, &requests[i]);

      CHECK(result == VIX_ASYNC);
   }
   MUST(VixDiskLib_Wait(disk));
   for (i = 0; i < IN_FLIGHT; i++) {
      CHECK(requests[i].calls == 1);
      MUST(requests[i].result);
   }
}

static void
print_blocks(VixDiskLibHandle disk, VixDiskLibSectorType capacity)
{
   VixDiskLibBlockList *list = NULL;
   VixDiskLibSectorType whole = capacity / CHUNK * CHUNK;
   uint32 i;

   MUST(VixDiskLib_QueryAllocatedBlocks(disk, 0, whole, CHUNK, &list));
   for (i = 0; i < list->numBlocks; i++) {
      printf("block %llu %llu\n", (unsigned long long)list->blocks[i].offset,
             (unsigned long long)list->blocks[i].length);
   }
   MUST(VixDiskLib_FreeBlockList(list));
   MUST_FAIL(VixDiskLib_QueryAllocatedBlocks(disk, 0, CHUNK - 1, CHUNK - 1, &list), VIX_E_INVALID_ARG);
   MUST_FAIL(VixDiskLib_QueryAllocatedBlocks(disk, 1, CHUNK, CHUNK, &list), VIX_E_INVALID_ARG);
}

static void
print_extents(VixDiskLibHandle disk, VixDiskLibSectorType capacity)
{
   VixDiskLibSectorType start = 0;

   while (start < capacity) {
      VixDiskLibExtExtent extents[3];
      size_t found = 0;
      size_t i;

      MUST(VixDiskLibExt_QueryExtents(disk, start, capacity - start, extents, 3, &found));
      CHECK(found >= 1 && found <= 3);
      for (i = 0; i < found; i++) {
         CHECK(extents[i].offset == start && extents[i].length > 0);
         start += extents[i].length;
         if (extents[i].flags & VIXDISKLIBEXT_EXTENT_ALLOCATED) {
            printf("extent %llu %llu\n", (unsigned long long)extents[i].offset,
                   (unsigned long long)extents[i].length);
         }
      }
   }
   CHECK(start == capacity);
}

static void
print_metadata(VixDiskLibHandle disk)
{
   char value[200];
   char *keys;
   const char *key;
   size_t need = 0;
   size_t again = 0;

   MUST_FAIL(VixDiskLib_GetMetadataKeys(disk, NULL, 0, &need), VIX_E_BUFFER_TOOSMALL);
   keys = (char *)malloc(need);
   CHECK(keys != NULL);
   MUST_FAIL(VixDiskLib_GetMetadataKeys(disk, keys, need - 1, &again), VIX_E_BUFFER_TOOSMALL);
   CHECK(again == need);
   MUST(VixDiskLib_GetMetadataKeys(disk, keys, need, &again));
   for (key = keys; *key != '\0'; key += strlen(key) + 1) {
      MUST(VixDiskLib_ReadMetadata(disk, key, value, sizeof value, &need));
      CHECK(need == strlen(value) + 1);
      printf("metadata %s=%s\n", key, value);
   }
   free(keys);
   MUST_FAIL(VixDiskLib_ReadMetadata(disk, "no such key", value, sizeof value, &need), VIX_E_DISK_KEY_NOTFOUND);
}

static void
print_info(VixDiskLibHandle disk, VixDiskLibSectorType *capacity)
{
   VixDiskLibInfo *info = NULL;
   uint64 parallel = 0;

   MUST(VixDiskLib_GetInfo(disk, &info));
   *capacity = info->capacity;
   printf("capacity %llu\nlinks %d\nadapter %d\ncylinders %u\nheads %u\nsectors %u\n",
          (unsigned long long)info->capacity, info->numLinks, (int)info->adapterType,
          (unsigned)info->physGeo.cylinders, (unsigned)info->physGeo.heads, (unsigned)info->physGeo.sectors);
   printf("sector size %u\n", (unsigned)info->logicalSectorSize);
   CHECK(info->parentFileNameHint == NULL);
   VixDiskLib_FreeInfo(info);
   printf("transport %s\n", VixDiskLib_GetTransportMode(disk));
   MUST(VixDiskLibExt_GetProperty(disk, VIXDISKLIBEXT_PROPERTY_PARALLEL_IO, &parallel));
   CHECK(parallel == 1);
}

/* Writes in every way there is, into `content` as well. */
static void
write_some(VixDiskLibHandle disk, VixDiskLibSectorType capacity, uint8 *content)
{
   static uint8 pattern[300 * VIXDISKLIB_SECTOR_SIZE];
   Request request = {0, VIX_OK};
   VixDiskLibSectorType last = capacity - 3;
   size_t i;

   for (i = 0; i < sizeof pattern; i++) {
      pattern[i] = (uint8)(1 + i % 251);
   }
   MUST(VixDiskLib_Write(disk, 1000, 300, pattern));
   memcpy(content + 1000 * VIXDISKLIB_SECTOR_SIZE, pattern, sizeof pattern);

   CHECK(VixDiskLib_WriteAsync(disk, last, 3, pattern, done, &request) == VIX_ASYNC);
   MUST(VixDiskLib_Wait(disk));
   CHECK(request.calls == 1);
   MUST(request.result);
   memcpy(content + last * VIXDISKLIB_SECTOR_SIZE, pattern, 3 * VIXDISKLIB_SECTOR_SIZE);

   MUST(VixDiskLibExt_WriteZeroes(disk, 1010, 20, VIXDISKLIBEXT_ZERO_MAY_FREE));
   memset(content + 1010 * VIXDISKLIB_SECTOR_SIZE, 0, 20 * VIXDISKLIB_SECTOR_SIZE);
   MUST(VixDiskLibExt_Trim(disk, 2048, 1024));
   memset(content + 2048 * VIXDISKLIB_SECTOR_SIZE, 0, 1024 * VIXDISKLIB_SECTOR_SIZE);

   MUST(VixDiskLib_Flush(disk));
   MUST_FAIL(VixDiskLib_Write(disk, capacity, 1, pattern), VIX_E_DISK_OUTOFRANGE);
}

int
main(int argc, char **argv)
{
   VixDiskLibConnectParams *params;
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   VixDiskLibSectorType capacity = 0;
   uint8 *content;
   uint8 *again;
   size_t bytes;
   int writes;

   CHECK(argc == 4);
   writes = strcmp(argv[3], "rw") == 0;
   MUST(VixDiskLib_InitEx(8, 0, on_log, on_warning, on_warning, NULL, NULL));
   CHECK(strstr(VixDiskLib_ListTransportModes(), "file") != NULL);
   params = VixDiskLib_AllocateConnectParams();
   CHECK(params != NULL);
   MUST(VixDiskLib_ConnectEx(params, writes ? FALSE : TRUE, NULL, NULL, &connection));
   VixDiskLib_FreeConnectParams(params);

   MUST_FAIL(VixDiskLib_Open(connection, "/no such disk.vmdk", VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk),
             VIX_E_FILE_NOT_FOUND);
   CHECK(disk == NULL);

   MUST(VixDiskLib_Open(connection, argv[1], writes ? 0 : VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk));
   print_info(disk, &capacity);
   print_metadata(disk);
   print_blocks(disk, capacity);
   print_extents(disk, capacity);

   bytes = (size_t)capacity * VIXDISKLIB_SECTOR_SIZE;
   content = (uint8 *)malloc(bytes);
   again = (uint8 *)malloc(bytes);
   CHECK(content != NULL && again != NULL);
   read_all(disk, capacity, content);
   read_all_async(disk, capacity, again);
   CHECK(memcmp(content, again, bytes) == 0);
   if (writes) {
      write_some(disk, capacity, content);
      read_all_async(disk, capacity, again);
      CHECK(memcmp(content, again, bytes) == 0);
   }
   save(argv[2], content, bytes);
   free(again);
   free(content);

   MUST(VixDiskLib_Close(disk));
   MUST(VixDiskLib_Disconnect(connection));
   VixDiskLib_Exit();
   return 0;
}
