/*
 * The allocated runs of a whole disk, which the library gives in portions and not up to the end.
 */

#ifndef RUNS_H
#define RUNS_H

#include "common.h"

/* The finest answer that there is. */
#define CHUNK ((VixDiskLibSectorType)VIXDISKLIB_MIN_CHUNK_SIZE)

/* Runs in order, with gaps between them. What lies in no run reads as zeros. */
typedef struct {
   VixDiskLibBlock *runs;
   size_t count;
   size_t room;
} Runs;

static inline void
free_runs(Runs *runs)
{
   free(runs->runs);
   memset(runs, 0, sizeof *runs);
}

/* Adds a run, to the last one if it touches that. */
static inline bool
add_run(Runs *runs, VixDiskLibSectorType offset, VixDiskLibSectorType length)
{
   VixDiskLibBlock *last = runs->count > 0 ? &runs->runs[runs->count - 1] : NULL;

   if (last != NULL && last->offset + last->length == offset) {
      last->length += length;
      return true;
   }
   if (runs->count == runs->room) {
      size_t room = runs->room > 0 ? 2 * runs->room : 64;
      VixDiskLibBlock *larger = (VixDiskLibBlock *)realloc(runs->runs, room * sizeof *larger);

      if (larger == NULL) {
         return complain("no memory", "runs");
      }
      runs->runs = larger;
      runs->room = room;
   }
   runs->runs[runs->count].offset = offset;
   runs->runs[runs->count].length = length;
   runs->count++;
   return true;
}

/* Adds what one call tells of a range of whole chunks. */
static inline bool
add_portion(Runs *runs, VixDiskLibHandle disk, const char *path, VixDiskLibSectorType start, VixDiskLibSectorType count)
{
   VixDiskLibBlockList *list = NULL;
   bool done = true;
   uint32 i;

   if (!ok(VixDiskLib_QueryAllocatedBlocks(disk, start, count, CHUNK, &list), "asking for the blocks of", path)) {
      return false;
   }
   for (i = 0; done && i < list->numBlocks; i++) {
      /* The array is longer than its declaration says, which compilers may take at its word. */
      const VixDiskLibBlock *blocks = list->blocks;

      done = add_run(runs, blocks[i].offset, blocks[i].length);
   }
   return ok(VixDiskLib_FreeBlockList(list), "freeing the blocks of", path) && done;
}

/* The runs of a disk; to be freed with `free_runs`, after a failure too. */
static inline bool
get_runs(Runs *runs, VixDiskLibHandle disk, const char *path, VixDiskLibSectorType capacity)
{
   const VixDiskLibSectorType portion = CHUNK * VIXDISKLIB_MAX_CHUNK_NUMBER;
   const VixDiskLibSectorType whole = capacity / CHUNK * CHUNK;
   VixDiskLibSectorType start;

   memset(runs, 0, sizeof *runs);
   for (start = 0; start < whole; start += portion) {
      if (!add_portion(runs, disk, path, start, whole - start < portion ? whole - start : portion)) {
         return false;
      }
   }
   /* The rest of the last chunk cannot be asked for, so it counts as allocated. */
   return whole == capacity || add_run(runs, whole, capacity - whole);
}

#endif
