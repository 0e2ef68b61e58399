/*
 * What a disk is: capacity, controller, geometry, links.
 *
 *   info DISK.vmdk
 */

#include "common.h"

static const char *
adapter_name(VixDiskLibAdapterType adapter)
{
   switch (adapter) {
   case VIXDISKLIB_ADAPTER_IDE:
      return "IDE";
   case VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC:
      return "BusLogic SCSI";
   case VIXDISKLIB_ADAPTER_SCSI_LSILOGIC:
      return "LSI Logic SCSI";
   default:
      return "other";
   }
}

static void
print_geometry(const char *name, const VixDiskLibGeometry *geometry)
{
   printf("%s: %" PRIu32 " cylinders, %" PRIu32 " heads, %" PRIu32 " sectors\n", name, geometry->cylinders,
          geometry->heads, geometry->sectors);
}

static bool
print_info(VixDiskLibHandle disk, const char *path)
{
   VixDiskLibInfo *info = NULL;

   if (!ok(VixDiskLib_GetInfo(disk, &info), "asking about", path)) {
      return false;
   }
   printf("capacity: %" PRIu64 " sectors of %d bytes\n", info->capacity, VIXDISKLIB_SECTOR_SIZE);
   printf("controller: %s\n", adapter_name(info->adapterType));
   print_geometry("geometry", &info->physGeo);
   print_geometry("BIOS geometry", &info->biosGeo);
   printf("links: %d\n", info->numLinks);
   if (info->parentFileNameHint != NULL) {
      printf("parent: %s\n", info->parentFileNameHint);
   }
   if (info->uuid != NULL) {
      printf("UUID: %s\n", info->uuid);
   }
   /* These two are there since release 7.0, which `start` asks for. */
   printf("sector size: %" PRIu32 " bytes logical, %" PRIu32 " bytes physical\n", info->logicalSectorSize,
          info->physicalSectorSize);
   VixDiskLib_FreeInfo(info);
   printf("transport: %s\n", VixDiskLib_GetTransportMode(disk));
   return true;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   bool done = false;

   if (argc != 2) {
      return usage("info DISK.vmdk");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening", argv[1])) {
      done = print_info(disk, argv[1]);
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
