/*
 * Copies what a disk holds into a new one, with several threads.
 *
 *   copy SOURCE.vmdk TARGET.vmdk [THREADS]
 *
 * A handle takes one call at a time, so each reading thread has its own handle on the source, and the main thread alone
 * writes. Disks are opened and closed on the main thread only, and it asks for the allocated blocks too.
 */

#include <pthread.h>

#include "runs.h"

#define MOST_THREADS 16

/* A piece of the disk on its way. */
typedef struct Piece {
   struct Piece *next;
   uint8 *buffer;
   VixDiskLibSectorType start;
   VixDiskLibSectorType length;
} Piece;

/* What the threads share, under the lock. `changed` tells all of them of every change. */
typedef struct {
   const char *path;
   pthread_mutex_t lock;
   pthread_cond_t changed;
   Runs runs;
   /* The place up to which the runs are handed out: a run, and sectors of it. */
   size_t run;
   VixDiskLibSectorType used;
   Piece *empty;
   Piece *full;
   size_t readers;
   bool failed;
} Copy;

typedef struct {
   Copy *copy;
   VixDiskLibHandle disk;
   pthread_t thread;
} Reader;

static void
push(Piece **stack, Piece *piece)
{
   piece->next = *stack;
   *stack = piece;
}

static Piece *
pop(Piece **stack)
{
   Piece *piece = *stack;

   if (piece != NULL) {
      *stack = piece->next;
   }
   return piece;
}

/* Takes an empty piece and says what is to be read into it; null when nothing is left to read. */
static Piece *
next_to_read(Copy *copy)
{
   Piece *piece = NULL;

   pthread_mutex_lock(&copy->lock);
   while (copy->empty == NULL && !copy->failed) {
      pthread_cond_wait(&copy->changed, &copy->lock);
   }
   if (copy->run < copy->runs.count && !copy->failed) {
      const VixDiskLibBlock *run = &copy->runs.runs[copy->run];
      VixDiskLibSectorType left = run->length - copy->used;

      piece = pop(&copy->empty);
      piece->start = run->offset + copy->used;
      piece->length = left < PIECE ? left : PIECE;
      copy->used += piece->length;
      if (copy->used == run->length) {
         copy->run++;
         copy->used = 0;
      }
   }
   pthread_mutex_unlock(&copy->lock);
   return piece;
}

/* Takes a piece that was read; null when there will be no more. */
static Piece *
next_to_write(Copy *copy)
{
   Piece *piece;

   pthread_mutex_lock(&copy->lock);
   while (copy->full == NULL && copy->readers > 0) {
      pthread_cond_wait(&copy->changed, &copy->lock);
   }
   piece = pop(&copy->full);
   pthread_mutex_unlock(&copy->lock);
   return piece;
}

/* Gives a piece on: to be written if it was read, to be read again if it was written. */
static void
give(Copy *copy, Piece **stack, Piece *piece, bool good)
{
   pthread_mutex_lock(&copy->lock);
   push(stack, piece);
   copy->failed = copy->failed || !good;
   pthread_cond_broadcast(&copy->changed);
   pthread_mutex_unlock(&copy->lock);
}

static void *
read_pieces(void *data)
{
   Reader *reader = (Reader *)data;
   Copy *copy = reader->copy;
   Piece *piece;

   while ((piece = next_to_read(copy)) != NULL) {
      bool good = ok(VixDiskLib_Read(reader->disk, piece->start, piece->length, piece->buffer), "reading", copy->path);

      give(copy, good ? &copy->full : &copy->empty, piece, good);
   }
   pthread_mutex_lock(&copy->lock);
   copy->readers--;
   pthread_cond_broadcast(&copy->changed);
   pthread_mutex_unlock(&copy->lock);
   return NULL;
}

/* Writes what the readers read, to the last piece even after a failure. */
static void
write_pieces(Copy *copy, VixDiskLibHandle target, const char *path)
{
   Piece *piece;

   while ((piece = next_to_write(copy)) != NULL) {
      bool good = ok(VixDiskLib_Write(target, piece->start, piece->length, piece->buffer), "writing", path);

      give(copy, &copy->empty, piece, good);
   }
}

/* Runs the readers, and writes meanwhile. */
static bool
run_threads(Copy *copy, Reader *readers, size_t count, VixDiskLibHandle target, const char *path)
{
   size_t started;
   size_t i;

   copy->readers = count;
   for (started = 0; started < count; started++) {
      if (pthread_create(&readers[started].thread, NULL, read_pieces, &readers[started]) != 0) {
         break;
      }
   }
   if (started < count) {
      /* Fewer do the same work, but one there must be. */
      pthread_mutex_lock(&copy->lock);
      copy->readers -= count - started;
      copy->failed = started == 0;
      pthread_mutex_unlock(&copy->lock);
   }
   write_pieces(copy, target, path);
   for (i = 0; i < started; i++) {
      pthread_join(readers[i].thread, NULL);
   }
   return started > 0 || complain("no thread", path);
}

/* Makes the pieces, two for each reader: one to read into while the other is written. */
static bool
copy_pieces(Copy *copy, Reader *readers, size_t count, VixDiskLibHandle target, const char *path)
{
   size_t bytes = PIECE * VIXDISKLIB_SECTOR_SIZE;
   Piece pieces[2 * MOST_THREADS];
   uint8 *buffers = (uint8 *)malloc(2 * count * bytes);
   bool done;
   size_t i;

   if (buffers == NULL) {
      return complain("no memory", path);
   }
   for (i = 0; i < 2 * count; i++) {
      pieces[i].buffer = buffers + i * bytes;
      push(&copy->empty, &pieces[i]);
   }
   done = run_threads(copy, readers, count, target, path) && !copy->failed;
   free(buffers);
   return done && ok(VixDiskLib_Flush(target), "flushing", path);
}

/* Makes the target, opens it, and copies. */
static bool
copy_to(VixDiskLibConnection connection, Copy *copy, Reader *readers, size_t count, const char *path)
{
   VixDiskLibHandle target = NULL;
   VixDiskLibSectorType capacity = 0;
   VixDiskLibCreateParams params;
   bool done;

   if (!get_capacity(readers[0].disk, copy->path, &capacity) ||
       !get_runs(&copy->runs, readers[0].disk, copy->path, capacity)) {
      return false;
   }
   params = create_params(VIXDISKLIB_DISK_MONOLITHIC_SPARSE, capacity);
   if (!ok(VixDiskLib_Create(connection, path, &params, NULL, NULL), "creating", path) ||
       !ok(VixDiskLib_Open(connection, path, 0, &target), "opening", path)) {
      return false;
   }
   done = copy_pieces(copy, readers, count, target, path);
   return ok(VixDiskLib_Close(target), "closing", path) && done;
}

/* Opens the source as often as there are readers, and copies. */
static bool
copy_from(VixDiskLibConnection connection, Copy *copy, size_t count, const char *path)
{
   Reader readers[MOST_THREADS];
   size_t opened;
   bool done;

   memset(readers, 0, sizeof readers);
   for (opened = 0; opened < count; opened++) {
      readers[opened].copy = copy;
      if (!ok(VixDiskLib_Open(connection, copy->path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &readers[opened].disk), "opening",
              copy->path)) {
         break;
      }
   }
   done = opened == count && copy_to(connection, copy, readers, count, path);
   while (opened > 0) {
      done = ok(VixDiskLib_Close(readers[--opened].disk), "closing", copy->path) && done;
   }
   return done;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   Copy copy;
   uint64 threads = 4;
   bool done;

   if (argc < 3 || argc > 4 || (argc == 4 && !number(argv[3], MOST_THREADS, &threads)) || threads == 0) {
      return usage("copy SOURCE.vmdk TARGET.vmdk [THREADS]");
   }
   memset(&copy, 0, sizeof copy);
   copy.path = argv[1];
   pthread_mutex_init(&copy.lock, NULL);
   pthread_cond_init(&copy.changed, NULL);
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   done = copy_from(connection, &copy, (size_t)threads, argv[2]);
   done = stop(connection) && done;
   free_runs(&copy.runs);
   pthread_cond_destroy(&copy.changed);
   pthread_mutex_destroy(&copy.lock);
   return status(done);
}
