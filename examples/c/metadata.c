/*
 * The metadata of a disk: prints all of it, or the value of one key, or sets one.
 *
 *   metadata DISK.vmdk [KEY [VALUE]]
 */

#include "common.h"

/* Gets the value of a key into memory that the caller frees; null, and said why, on failure. */
static char *
read_value(VixDiskLibHandle disk, const char *key)
{
   size_t length = 0;
   VixError error = VixDiskLib_ReadMetadata(disk, key, NULL, 0, &length);
   char *value;

   /* The first call is for the length only. */
   if (VIX_ERROR_CODE(error) != VIX_E_BUFFER_TOOSMALL) {
      ok(error, "reading the metadata", key);
      return NULL;
   }
   value = (char *)malloc(length);
   if (value == NULL) {
      complain("no memory", key);
      return NULL;
   }
   if (!ok(VixDiskLib_ReadMetadata(disk, key, value, length, &length), "reading the metadata", key)) {
      free(value);
      return NULL;
   }
   return value;
}

static bool
print_value(VixDiskLibHandle disk, const char *key, bool with_key)
{
   char *value = read_value(disk, key);

   if (value == NULL) {
      return false;
   }
   printf("%s%s%s\n", with_key ? key : "", with_key ? " = " : "", value);
   free(value);
   return true;
}

static bool
print_all(VixDiskLibHandle disk, const char *path)
{
   size_t length = 0;
   VixError error = VixDiskLib_GetMetadataKeys(disk, NULL, 0, &length);
   char *keys;
   const char *key;
   bool done;

   if (VIX_ERROR_CODE(error) != VIX_E_BUFFER_TOOSMALL) {
      return ok(error, "listing the metadata of", path);
   }
   keys = (char *)malloc(length);
   if (keys == NULL) {
      return complain("no memory", path);
   }
   done = ok(VixDiskLib_GetMetadataKeys(disk, keys, length, &length), "listing the metadata of", path);
   /* Each key has its zero byte, and an empty one ends the list. */
   for (key = keys; done && *key != '\0'; key += strlen(key) + 1) {
      done = print_value(disk, key, true);
   }
   free(keys);
   return done;
}

int
main(int argc, char **argv)
{
   VixDiskLibConnection connection = NULL;
   VixDiskLibHandle disk = NULL;
   uint32 flags = argc == 4 ? 0 : VIXDISKLIB_FLAG_OPEN_READ_ONLY;
   bool done = false;

   if (argc < 2 || argc > 4) {
      return usage("metadata DISK.vmdk [KEY [VALUE]]");
   }
   if (!start(&connection)) {
      return EXIT_FAILURE;
   }
   if (ok(VixDiskLib_Open(connection, argv[1], flags, &disk), "opening", argv[1])) {
      if (argc == 2) {
         done = print_all(disk, argv[1]);
      } else if (argc == 3) {
         done = print_value(disk, argv[2], false);
      } else {
         done = ok(VixDiskLib_WriteMetadata(disk, argv[2], argv[3]), "writing the metadata", argv[2]);
      }
      done = ok(VixDiskLib_Close(disk), "closing", argv[1]) && done;
   }
   done = stop(connection) && done;
   return status(done);
}
