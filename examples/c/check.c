/*
 * Checks the tables of a disk, and repairs them if asked to.
 *
 *   check DISK.vmdk [repair]
 *
 * Ends with 0 if the disk is in order (now), with 3 if it needs repair, with 4 if it cannot be repaired.
 */

#include "common.h"

/* Says what came out; gives the exit status. */
static int
report(VixError result, const char *path)
{
   switch (VIX_ERROR_CODE(result)) {
   case VIX_E_DISK_NEEDSREPAIR:
      printf("%s: needs repair\n", path);
      return 3;
   case VIX_E_DISK_CANTREPAIR:
      printf("%s: cannot be repaired\n", path);
      return 4;
   default:
      if (!ok(result, "checking", path)) {
         return EXIT_FAILURE;
      }
      printf("%s: good\n", path);
      return EXIT_SUCCESS;
   }
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   bool repair = argc == 3;
   int found;

   if (argc < 2 || argc > 3 || (repair && strcmp(argv[2], "repair") != 0)) {
      return usage("check DISK.vmdk [repair]");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   found = report(VixDiskLib_CheckRepair(connection, argv[1], repair ? TRUE : FALSE), argv[1]);
   if (status(stop(connection)) != EXIT_SUCCESS) {
      return EXIT_FAILURE;
   }
   return found;
}
