/*
 * Makes an empty disk.
 *
 *   create DISK.vmdk MIB [sparse|flat|split-sparse|split-flat|vmfs-flat|stream]
 */

#include "common.h"

int
main(int argc, char **argv)
{
   static char what[] = "creating";
   VixDiskLibConnection connection = NULL;
   VixDiskLibDiskType type = VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
   VixDiskLibCreateParams params;
   uint64 mebibytes = 0;
   bool done;

   if (argc < 3 || argc > 4 || !number(argv[2], ANY_NUMBER >> 11, &mebibytes) ||
       (argc == 4 && !type_by_word(argv[3], &type))) {
      return usage("create DISK.vmdk MIB [" TYPE_WORDS "]");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   params = create_params(type, mebibytes << 11);
   done = ok(VixDiskLib_Create(connection, argv[1], &params, on_progress, what), what, argv[1]);
   done = stop(connection) && done;
   return status(done);
}
