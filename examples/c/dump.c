/*
 * Prints sectors in hexadecimal: 16 bytes a line behind their position, and what they are as text.
 *
 *   dump DISK.vmdk FIRST-SECTOR SECTORS
 */

#include "common.h"

static void
print_sector(VixDiskLibSectorType sector, const uint8 *bytes)
{
   size_t row;
   size_t i;

   for (row = 0; row < VIXDISKLIB_SECTOR_SIZE; row += 16) {
      printf("%010" PRIx64 " ", sector * VIXDISKLIB_SECTOR_SIZE + row);
      for (i = row; i < row + 16; i++) {
         printf(" %02x", bytes[i]);
      }
      printf("  ");
      for (i = row; i < row + 16; i++) {
         putchar(bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : '.');
      }
      putchar('\n');
   }
}

static bool
dump(VixDiskLibHandle disk, const char *path, VixDiskLibSectorType start, VixDiskLibSectorType count)
{
   uint8 *buffer = (uint8 *)malloc(PIECE * VIXDISKLIB_SECTOR_SIZE);
   bool done = buffer != NULL || complain("no memory", path);

   while (done && count > 0) {
      VixDiskLibSectorType length = count < PIECE ? count : PIECE;
      VixDiskLibSectorType i;

      done = ok(VixDiskLib_Read(disk, start, length, buffer), "reading", path);
      for (i = 0; done && i < length; i++) {
         print_sector(start + i, buffer + i * VIXDISKLIB_SECTOR_SIZE);
      }
      start += length;
      count -= length;
   }
   free(buffer);
   return done;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   uint64 first = 0;
   uint64 count = 0;
   bool done = false;

   if (argc != 4 || !number(argv[2], ANY_NUMBER, &first) || !number(argv[3], ANY_NUMBER, &count)) {
      return usage("dump DISK.vmdk FIRST-SECTOR SECTORS");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening", argv[1])) {
      done = dump(disk, argv[1], first, count);
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
