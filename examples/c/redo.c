/*
 * Makes a child of a disk, also called its redo log: it takes what is written from now on, and the disk stays as it is
 * for as long as the child is to be of use.
 *
 *   redo DISK.vmdk CHILD.vmdk [sparse|split-sparse]
 */

#include "common.h"

int
main(int argc, char **argv)
{
   static char what[] = "creating";
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   VixDiskLibDiskType type = VIXDISKLIB_DISK_MONOLITHIC_SPARSE;
   bool done = false;

   if (argc < 3 || argc > 4 || (argc == 4 && !type_by_word(argv[3], &type))) {
      return usage("redo DISK.vmdk CHILD.vmdk [sparse|split-sparse]");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening", argv[1])) {
      done = ok(VixDiskLib_CreateChild(disk, argv[2], type, on_progress, what), what, argv[2]);
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
