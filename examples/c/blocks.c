/*
 * Prints where a disk holds data: first sector and number of sectors of each allocated run.
 *
 *   blocks DISK.vmdk
 */

#include "runs.h"

static bool
print_blocks(VixDiskLibHandle disk, const char *path)
{
   VixDiskLibSectorType capacity = 0;
   Runs runs;
   bool done;
   size_t i;

   if (!get_capacity(disk, path, &capacity)) {
      return false;
   }
   done = get_runs(&runs, disk, path, capacity);
   for (i = 0; done && i < runs.count; i++) {
      printf("%" PRIu64 " %" PRIu64 "\n", runs.runs[i].offset, runs.runs[i].length);
   }
   free_runs(&runs);
   return done;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   bool done = false;

   if (argc != 2) {
      return usage("blocks DISK.vmdk");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening", argv[1])) {
      done = print_blocks(disk, argv[1]);
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
