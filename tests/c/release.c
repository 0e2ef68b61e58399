/*
 * What a library gives a program that was compiled for its major version: a disk, and as much of VixDiskLibInfo as that
 * version has. Compiled with WITH_SECTOR_SIZES for 7 and later.
 *
 * Usage: release MAJOR ASKED_MAJOR ASKED_MINOR DISK [CONFIGURATION]
 */

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "vixDiskLib.h"

static void log_line(const char *format, va_list arguments)
{
   printf("log ");
   vprintf(format, arguments);
}

static void warn_line(const char *format, va_list arguments)
{
   printf("warn ");
   vprintf(format, arguments);
}

static void check(VixError error, const char *what)
{
   if (error != VIX_OK) {
      printf("%s failed with %llu\n", what, (unsigned long long)error);
      exit(1);
   }
}

int main(int argc, char **argv)
{
   VixDiskLibConnectParams *params;
   VixDiskLibConnection connection;
   VixDiskLibHandle disk;
   VixDiskLibInfo *info;

   if (argc < 5) {
      return 2;
   }
   check(VixDiskLib_InitEx((uint32)atoi(argv[2]), (uint32)atoi(argv[3]), log_line, warn_line, NULL, NULL,
                           argc > 5 ? argv[5] : NULL),
         "InitEx");
   params = VixDiskLib_AllocateConnectParams();
   check(VixDiskLib_ConnectEx(params, 1, NULL, NULL, &connection), "ConnectEx");
   if (VixDiskLib_Open(connection, "/no/such/disk.vmdk", VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk) == VIX_OK) {
      return 3;
   }
   check(VixDiskLib_Open(connection, argv[4], VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "Open");
   check(VixDiskLib_GetInfo(disk, &info), "GetInfo");
   printf("capacity %llu\n", (unsigned long long)info->capacity);
#ifdef WITH_SECTOR_SIZES
   printf("sector sizes %u %u\n", info->logicalSectorSize, info->physicalSectorSize);
#endif
   /* The heap rounds up, by at most eight bytes. */
   printf("usable %zu\n", malloc_usable_size(info));
   VixDiskLib_FreeInfo(info);
   check(VixDiskLib_Close(disk), "Close");
   check(VixDiskLib_Disconnect(connection), "Disconnect");
   VixDiskLib_FreeConnectParams(params);
   VixDiskLib_Exit();
   return 0;
}
