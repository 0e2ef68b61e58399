/*
 * Copies a disk with all its parents into one new disk, which may have another type. The library does the work;
 * `copy.c` shows how a program does it that wants to see the data.
 *
 *   clone SOURCE.vmdk TARGET.vmdk [sparse|flat|split-sparse|split-flat|vmfs-flat|stream]
 */

#include "common.h"

/* Says how much room the copy will take. */
static bool
print_space(VixDiskLibConnection connection, const char *path, VixDiskLibDiskType type)
{
   VixDiskLibHandle disk = NULL;
   uint64 bytes = 0;
   bool done;

   if (!ok(VixDiskLib_Open(connection, path, VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening", path)) {
      return false;
   }
   done = ok(VixDiskLib_SpaceNeededForClone(disk, type, &bytes), "asking for the space of a copy of", path);
   if (done) {
      printf("space needed: %" PRIu64 " bytes\n", bytes);
   }
   return ok(VixDiskLib_Close(disk), "closing", path) && done;
}

int
main(int argc, char **argv)
{
   static char what[] = "copying";
   VixDiskLibConnection connection = NULL;
   VixDiskLibDiskType type = VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
   VixDiskLibCreateParams params;
   bool done;

   if (argc < 3 || argc > 4 || (argc == 4 && !type_by_word(argv[3], &type))) {
      return usage("clone SOURCE.vmdk TARGET.vmdk [" TYPE_WORDS "]");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   /* The capacity is that of the source. */
   params = create_params(type, 0);
   done = print_space(connection, argv[1], type) &&
          ok(VixDiskLib_Clone(connection, argv[2], connection, argv[1], &params, on_progress, what, FALSE), what,
             argv[1]);
   done = stop(connection) && done;
   return status(done);
}
