/*
 * How fast a disk is, from its first sector to its last: with one request at a time, or with several in flight.
 *
 *   bench DISK.vmdk read|write sync|async [KIB [REQUESTS]]
 *
 * Reading also prints the sum of all 64-bit words of the disk. Writing makes every byte of the disk FILLING.
 */

#include <pthread.h>
#include <time.h>

#include "common.h"

#define FILLING 0xa5

struct Bench;

/* A buffer, which the library uses from the submission of a request to its callback. */
typedef struct Slot {
   struct Bench *bench;
   struct Slot *next;
   uint8 *buffer;
   VixDiskLibSectorType length;
} Slot;

/* Callbacks come on threads of the library, so what they touch is under the lock. */
typedef struct Bench {
   VixDiskLibHandle disk;
   const char *path;
   VixDiskLibSectorType capacity;
   VixDiskLibSectorType piece;
   bool writes;
   pthread_mutex_t lock;
   pthread_cond_t freed;
   Slot *free;
   VixError error;
   uint64 sum;
} Bench;

static double
seconds(void)
{
   struct timespec now;

   timespec_get(&now, TIME_UTC);
   return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64
sum_of(const uint8 *bytes, VixDiskLibSectorType sectors)
{
   size_t length = (size_t)sectors * VIXDISKLIB_SECTOR_SIZE;
   uint64 sum = 0;
   uint64 word;
   size_t i;

   for (i = 0; i < length; i += sizeof word) {
      memcpy(&word, bytes + i, sizeof word);
      sum += word;
   }
   return sum;
}

static VixDiskLibSectorType
length_at(const Bench *bench, VixDiskLibSectorType start)
{
   return bench->capacity - start < bench->piece ? bench->capacity - start : bench->piece;
}

static bool
run_sync(Bench *bench)
{
   Slot *slot = bench->free;
   VixDiskLibSectorType start;

   for (start = 0; start < bench->capacity; start += slot->length) {
      VixError error;

      slot->length = length_at(bench, start);
      error = bench->writes ? VixDiskLib_Write(bench->disk, start, slot->length, slot->buffer)
                            : VixDiskLib_Read(bench->disk, start, slot->length, slot->buffer);
      if (!ok(error, bench->writes ? "writing" : "reading", bench->path)) {
         return false;
      }
      if (!bench->writes) {
         bench->sum += sum_of(slot->buffer, slot->length);
      }
   }
   return true;
}

/* A request is done; maybe before the call returns that submitted it. The library must not be called from here. */
static void
on_done(void *data, VixError error)
{
   Slot *slot = (Slot *)data;
   Bench *bench = slot->bench;
   uint64 sum = bench->writes ? 0 : sum_of(slot->buffer, slot->length);

   pthread_mutex_lock(&bench->lock);
   if (VIX_FAILED(error)) {
      bench->error = error;
   }
   bench->sum += sum;
   slot->next = bench->free;
   bench->free = slot;
   pthread_cond_signal(&bench->freed);
   pthread_mutex_unlock(&bench->lock);
}

/* Waits for a buffer that is free; null when a request has failed. */
static Slot *
take_slot(Bench *bench)
{
   Slot *slot = NULL;

   pthread_mutex_lock(&bench->lock);
   while (bench->free == NULL) {
      pthread_cond_wait(&bench->freed, &bench->lock);
   }
   if (VIX_SUCCEEDED(bench->error)) {
      slot = bench->free;
      bench->free = slot->next;
   }
   pthread_mutex_unlock(&bench->lock);
   return slot;
}

static bool
run_async(Bench *bench)
{
   VixDiskLibSectorType start = 0;
   VixError result = VIX_ASYNC;
   bool done;
   Slot *slot;

   while (start < bench->capacity && result == VIX_ASYNC && (slot = take_slot(bench)) != NULL) {
      VixDiskLibSectorType length = length_at(bench, start);

      slot->length = length;
      result = bench->writes ? VixDiskLib_WriteAsync(bench->disk, start, length, slot->buffer, on_done, slot)
                             : VixDiskLib_ReadAsync(bench->disk, start, length, slot->buffer, on_done, slot);
      start += length;
   }
   /* Before anything else is done with the disk, or the buffers. */
   done = ok(VixDiskLib_Wait(bench->disk), "waiting for", bench->path);
   /* Only this says that a request was accepted, and that its callback comes. */
   if (result == VIX_ASYNC) {
      result = bench->error;
   }
   return ok(result, bench->writes ? "writing" : "reading", bench->path) && done;
}

/* Gives the benchmark its buffers; what there is of them is freed by `free_slots`. */
static bool
make_slots(Bench *bench, Slot *slots, size_t count)
{
   size_t length = (size_t)bench->piece * VIXDISKLIB_SECTOR_SIZE;
   size_t i;

   for (i = 0; i < count; i++) {
      slots[i].buffer = (uint8 *)malloc(length);
      if (slots[i].buffer == NULL) {
         return complain("no memory", bench->path);
      }
      memset(slots[i].buffer, FILLING, length);
      slots[i].bench = bench;
      slots[i].next = bench->free;
      bench->free = &slots[i];
   }
   return true;
}

static void
free_slots(Slot *slots, size_t count)
{
   size_t i;

   for (i = 0; i < count; i++) {
      free(slots[i].buffer);
   }
   free(slots);
}

/* Measures, and prints. Data that is written counts when it is safe. */
static bool
measure(Bench *bench, bool async)
{
   double begin = seconds();
   double mebibytes = (double)bench->capacity * VIXDISKLIB_SECTOR_SIZE / (1 << 20);
   double taken;

   if (!(async ? run_async(bench) : run_sync(bench))) {
      return false;
   }
   if (bench->writes && !ok(VixDiskLib_Flush(bench->disk), "flushing", bench->path)) {
      return false;
   }
   taken = seconds() - begin;
   printf("%.1f MiB in %.3f s: %.0f MiB/s\n", mebibytes, taken, taken > 0 ? mebibytes / taken : 0.0);
   if (!bench->writes) {
      printf("sum: %016" PRIx64 "\n", bench->sum);
   }
   return true;
}

static bool
bench_disk(Bench *bench, bool async, size_t requests)
{
   size_t count = async ? requests : 1;
   Slot *slots;
   bool done;

   if (!get_capacity(bench->disk, bench->path, &bench->capacity)) {
      return false;
   }
   slots = (Slot *)calloc(count, sizeof *slots);
   if (slots == NULL) {
      return complain("no memory", bench->path);
   }
   done = make_slots(bench, slots, count) && measure(bench, async);
   free_slots(slots, count);
   return done;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   Bench bench;
   uint64 kibibytes = 256;
   uint64 requests = 8;
   bool done = false;

   if (argc < 4 || argc > 6 || (strcmp(argv[2], "read") != 0 && strcmp(argv[2], "write") != 0) ||
       (strcmp(argv[3], "sync") != 0 && strcmp(argv[3], "async") != 0) ||
       (argc > 4 && !number(argv[4], 1 << 20, &kibibytes)) || (argc > 5 && !number(argv[5], 256, &requests)) ||
       kibibytes == 0 || requests == 0) {
      return usage("bench DISK.vmdk read|write sync|async [KIB [REQUESTS]]");
   }
   memset(&bench, 0, sizeof bench);
   bench.path = argv[1];
   bench.piece = kibibytes * 1024 / VIXDISKLIB_SECTOR_SIZE;
   bench.writes = strcmp(argv[2], "write") == 0;
   pthread_mutex_init(&bench.lock, NULL);
   pthread_cond_init(&bench.freed, NULL);
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], bench.writes ? 0 : VIXDISKLIB_FLAG_OPEN_READ_ONLY, &bench.disk),
          "opening", argv[1])) {
      done = bench_disk(&bench, strcmp(argv[3], "async") == 0, (size_t)requests);
      done = ok(VixDiskLib_Close(bench.disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   pthread_cond_destroy(&bench.freed);
   pthread_mutex_destroy(&bench.lock);
   return status(done);
}
