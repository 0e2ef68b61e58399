/*
 * Many threads on many open disks at once. Each thread has a lane of sectors of every disk, which it writes and reads
 * in every way there is, with requests in flight on all disks; grains and handles it shares with the others. It also
 * opens disks of its own, and closes them with requests in flight.
 *
 * What the disks must hold in the end is in FOLDER/0.raw, FOLDER/1.raw, ... beside them.
 *
 *   stress FOLDER DISKS THREADS ROUNDS
 */

#include <pthread.h>
#include <stdatomic.h>

#include "must.h"
#include "vixDiskLibExt.h"

#define SECTOR VIXDISKLIB_SECTOR_SIZE
/* Sectors of a lane: no multiple of a grain's, so that threads meet in grains. */
#define LANE 37
/* Requests in flight when a disk is closed. */
#define LAST 8

typedef struct {
   VixDiskLibHandle handle;
   char path[4096];
   /* What the disk holds, or will when its requests are done: they write from here. */
   uint8 *content;
} Disk;

/* A request of a thread for its lane of a disk: one at a time. */
typedef struct {
   uint8 buffer[LANE * SECTOR];
   VixDiskLibSectorType start;
   VixDiskLibSectorType count;
   int submitted;
   atomic_int calls;
   _Atomic VixError result;
   int reads;
   int pending;
} Request;

typedef struct {
   pthread_t thread;
   unsigned number;
   uint64 random;
   Request *requests;
} Thread;

static const VixDiskLibDiskType TYPES[] = {
   VIXDISKLIB_DISK_MONOLITHIC_SPARSE,
   VIXDISKLIB_DISK_MONOLITHIC_FLAT,
   VIXDISKLIB_DISK_SPLIT_SPARSE,
   VIXDISKLIB_DISK_SPLIT_FLAT,
};

static VixDiskLibConnection connection;
static const char *folder;
static Disk *disks;
static Thread *threads;
static size_t num_disks;
static size_t num_threads;
static size_t num_rounds;
static VixDiskLibSectorType capacity;

static size_t
number(const char *text)
{
   long value = strtol(text, NULL, 10);

   CHECK(value > 0);
   return (size_t)value;
}

/* Marsaglia's xorshift. */
static uint64
random_below(Thread *thread, uint64 end)
{
   thread->random ^= thread->random << 13;
   thread->random ^= thread->random >> 7;
   thread->random ^= thread->random << 17;
   return thread->random % end;
}

static void
make_disk(Disk *disk, const char *name, size_t index)
{
   VixDiskLibCreateParams params;

   CHECK(snprintf(disk->path, sizeof disk->path, "%s/%s%zu.vmdk", folder, name, index) < (int)sizeof disk->path);
   memset(&params, 0, sizeof params);
   params.diskType = TYPES[index % (sizeof TYPES / sizeof TYPES[0])];
   params.adapterType = VIXDISKLIB_ADAPTER_SCSI_LSILOGIC;
   params.hwVersion = VIXDISKLIB_HWVERSION_ESX65;
   params.capacity = capacity;
   MUST(VixDiskLib_Create(connection, disk->path, &params, NULL, NULL));
   disk->content = (uint8 *)calloc(capacity, SECTOR);
   CHECK(disk->content != NULL);
   MUST(VixDiskLib_Open(connection, disk->path, 0, &disk->handle));
}

static void
done(void *data, VixError result)
{
   Request *request = (Request *)data;

   atomic_store(&request->result, result);
   atomic_fetch_add(&request->calls, 1);
}

/* After waiting: the request has called back, as often as it was submitted, and did what it was to do. */
static void
must_be_done(const Disk *disk, Request *request)
{
   if (!request->pending) {
      return;
   }
   CHECK(atomic_load(&request->calls) == request->submitted);
   MUST(atomic_load(&request->result));
   if (request->reads) {
      CHECK(memcmp(request->buffer, disk->content + request->start * SECTOR, request->count * SECTOR) == 0);
   }
   request->pending = 0;
}

/* What differs from write to write. */
static void
fill(Thread *thread, uint8 *bytes, VixDiskLibSectorType count)
{
   uint64 seed = random_below(thread, UINT64_MAX);
   size_t i;

   for (i = 0; i < count * SECTOR; i += sizeof seed) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      memcpy(bytes + i, &seed, sizeof seed);
   }
}

static void
submit(Disk *disk, Request *request, int reads)
{
   uint8 *content = disk->content + request->start * SECTOR;
   VixError result;

   request->reads = reads;
   request->pending = 1;
   request->submitted++;
   result = reads ? VixDiskLib_ReadAsync(disk->handle, request->start, request->count, request->buffer, done, request)
                  : VixDiskLib_WriteAsync(disk->handle, request->start, request->count, content, done, request);
   CHECK(result == VIX_ASYNC);
}

static void
ask(Thread *thread, Disk *disk)
{
   VixDiskLibBlockList *list = NULL;
   VixDiskLibInfo *info = NULL;
   char key[32];
   char value[32];
   size_t need = 0;

   MUST(VixDiskLib_QueryAllocatedBlocks(disk->handle, 0, capacity / 128 * 128, 128, &list));
   CHECK(list->numBlocks <= capacity / 128);
   MUST(VixDiskLib_FreeBlockList(list));
   MUST(VixDiskLib_GetInfo(disk->handle, &info));
   CHECK(info->capacity == capacity);
   VixDiskLib_FreeInfo(info);
   snprintf(key, sizeof key, "note%u", thread->number);
   MUST(VixDiskLib_WriteMetadata(disk->handle, key, key));
   MUST(VixDiskLib_ReadMetadata(disk->handle, key, value, sizeof value, &need));
   CHECK(strcmp(key, value) == 0);
}

/* Something with a part of the thread's lane of a disk. */
static void
one_round(Thread *thread, Disk *disk, Request *request)
{
   uint8 *content;

   if (request->pending) {
      /* Both wait for what was accepted before. */
      MUST(random_below(thread, 16) == 0 ? VixDiskLib_Flush(disk->handle) : VixDiskLib_Wait(disk->handle));
      must_be_done(disk, request);
   }
   request->start = random_below(thread, LANE);
   request->count = 1 + random_below(thread, LANE - request->start);
   request->start += thread->number * LANE;
   content = disk->content + request->start * SECTOR;
   switch (random_below(thread, 12)) {
   case 0:
      MUST(VixDiskLib_Read(disk->handle, request->start, request->count, request->buffer));
      CHECK(memcmp(request->buffer, content, request->count * SECTOR) == 0);
      break;
   case 1:
      fill(thread, content, request->count);
      MUST(VixDiskLib_Write(disk->handle, request->start, request->count, content));
      break;
   case 2:
      memset(content, 0, request->count * SECTOR);
      MUST(VixDiskLibExt_WriteZeroes(disk->handle, request->start, request->count, VIXDISKLIBEXT_ZERO_MAY_FREE));
      break;
   case 3:
      if (random_below(thread, 8) == 0) {
         ask(thread, disk);
      }
      break;
   case 4:
   case 5:
   case 6:
   case 7:
      submit(disk, request, 1);
      break;
   default:
      fill(thread, content, request->count);
      submit(disk, request, 0);
   }
}

static void
must_hold(Disk *disk)
{
   uint8 *found = (uint8 *)malloc(capacity * SECTOR);

   CHECK(found != NULL);
   MUST(VixDiskLib_Read(disk->handle, 0, capacity, found));
   CHECK(memcmp(found, disk->content, capacity * SECTOR) == 0);
   free(found);
}

/* A disk that is opened, written, closed with requests in flight, opened again, and removed. */
static void
one_life(Thread *thread, Request *requests)
{
   Disk disk;
   size_t i;

   make_disk(&disk, "own", thread->number);
   for (i = 0; i < LAST; i++) {
      requests[i].start = i;
      requests[i].count = 1;
      fill(thread, disk.content + i * SECTOR, 1);
      submit(&disk, &requests[i], 0);
   }
   MUST(VixDiskLib_Close(disk.handle));
   for (i = 0; i < LAST; i++) {
      must_be_done(&disk, &requests[i]);
   }
   MUST(VixDiskLib_Open(connection, disk.path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk.handle));
   must_hold(&disk);
   MUST(VixDiskLib_Close(disk.handle));
   MUST(VixDiskLib_Unlink(connection, disk.path));
   free(disk.content);
}

static void *
work(void *data)
{
   Thread *thread = (Thread *)data;
   Request *last = (Request *)calloc(LAST, sizeof *last);
   size_t i;

   CHECK(last != NULL);
   for (i = 0; i < num_rounds; i++) {
      size_t index = (size_t)random_below(thread, num_disks);

      one_round(thread, &disks[index], &thread->requests[index]);
      if (i % 256 == 255) {
         one_life(thread, last);
      }
   }
   free(last);
   return NULL;
}

/* Closes all disks while a request of each thread is in flight on each of them. */
static void
close_all(void)
{
   size_t i;
   size_t j;

   for (i = 0; i < num_disks; i++) {
      MUST(VixDiskLib_Wait(disks[i].handle));
      for (j = 0; j < num_threads; j++) {
         must_be_done(&disks[i], &threads[j].requests[i]);
      }
   }
   for (j = 0; j < num_threads; j++) {
      for (i = 0; i < num_disks; i++) {
         Request *request = &threads[j].requests[i];

         request->start = threads[j].number * LANE + 3;
         request->count = 2;
         fill(&threads[j], disks[i].content + request->start * SECTOR, request->count);
         submit(&disks[i], request, 0);
      }
   }
   for (i = 0; i < num_disks; i++) {
      MUST(VixDiskLib_Close(disks[i].handle));
      for (j = 0; j < num_threads; j++) {
         must_be_done(&disks[i], &threads[j].requests[i]);
      }
   }
}

/* All disks hold what they should, and files say to others what that is. */
static void
verify(void)
{
   char path[4096];
   size_t i;

   for (i = 0; i < num_disks; i++) {
      MUST(VixDiskLib_Open(connection, disks[i].path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disks[i].handle));
   }
   for (i = 0; i < num_disks; i++) {
      must_hold(&disks[i]);
      MUST(VixDiskLib_Close(disks[i].handle));
      CHECK(snprintf(path, sizeof path, "%s/%zu.raw", folder, i) < (int)sizeof path);
      save(path, disks[i].content, capacity * SECTOR);
      free(disks[i].content);
   }
}

int
main(int argc, char **argv)
{
   size_t submitted = 0;
   size_t i;
   size_t j;

   CHECK(argc == 5);
   folder = argv[1];
   num_disks = number(argv[2]);
   num_threads = number(argv[3]);
   num_rounds = number(argv[4]);
   /* Some sectors belong to nobody. */
   capacity = num_threads * LANE + 131;
   disks = (Disk *)calloc(num_disks, sizeof *disks);
   threads = (Thread *)calloc(num_threads, sizeof *threads);
   CHECK(disks != NULL && threads != NULL);
   MUST(VixDiskLib_InitEx(8, 0, on_log, on_warning, on_warning, NULL, NULL));
   MUST(VixDiskLib_Connect(NULL, &connection));
   for (i = 0; i < num_disks; i++) {
      make_disk(&disks[i], "", i);
   }
   for (j = 0; j < num_threads; j++) {
      threads[j].number = (unsigned)j;
      threads[j].random = 0x9e3779b97f4a7c15u * (j + 1);
      threads[j].requests = (Request *)calloc(num_disks, sizeof(Request));
      CHECK(threads[j].requests != NULL);
      CHECK(pthread_create(&threads[j].thread, NULL, work, &threads[j]) == 0);
   }
   for (j = 0; j < num_threads; j++) {
      CHECK(pthread_join(threads[j].thread, NULL) == 0);
   }
   close_all();
   verify();
   MUST(VixDiskLib_Disconnect(connection));
   VixDiskLib_Exit();
   /* No callback came late, or twice. */
   for (j = 0; j < num_threads; j++) {
      for (i = 0; i < num_disks; i++) {
         Request *request = &threads[j].requests[i];

         CHECK(atomic_load(&request->calls) == request->submitted);
         submitted += (size_t)request->submitted;
      }
      free(threads[j].requests);
   }
   printf("requests %zu\n", submitted);
   free(threads);
   free(disks);
   return 0;
}
