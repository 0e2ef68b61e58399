/*
 * Fills sectors of a disk with a byte, and makes sure that they are kept.
 *
 *   fill DISK.vmdk FIRST-SECTOR SECTORS BYTE
 */

#include "common.h"

static bool
fill(VixDiskLibHandle disk, const char *path, VixDiskLibSectorType start, VixDiskLibSectorType count, uint8 byte)
{
   uint8 *buffer = (uint8 *)malloc(PIECE * VIXDISKLIB_SECTOR_SIZE);
   bool done = buffer != NULL || complain("no memory", path);

   if (done) {
      memset(buffer, byte, PIECE * VIXDISKLIB_SECTOR_SIZE);
   }
   while (done && count > 0) {
      VixDiskLibSectorType length = count < PIECE ? count : PIECE;

      done = ok(VixDiskLib_Write(disk, start, length, buffer), "writing", path);
      start += length;
      count -= length;
   }
   free(buffer);
   return done && ok(VixDiskLib_Flush(disk), "flushing", path);
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   uint64 first = 0;
   uint64 count = 0;
   uint64 byte = 0;
   bool done = false;

   if (argc != 5 || !number(argv[2], ANY_NUMBER, &first) || !number(argv[3], ANY_NUMBER, &count) ||
       !number(argv[4], 255, &byte)) {
      return usage("fill DISK.vmdk FIRST-SECTOR SECTORS BYTE");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], 0, &disk), "opening", argv[1])) {
      done = fill(disk, argv[1], first, count, (uint8)byte);
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
