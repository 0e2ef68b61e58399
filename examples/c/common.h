/*
 * What every program here needs: starting the library, saying what went wrong, and reading numbers and words from the
 * command line. In what C11 and C++17 have in common.
 */

#ifndef COMMON_H
#define COMMON_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vixDiskLib.h"

/* The release of the API that the program was written for; every library of the same or a later release takes it. */
#define API_MAJOR 7
#define API_MINOR 0

/* A request of this size is fast everywhere: 1 MiB. VDDK wants at most 2 MiB. */
#define PIECE ((VixDiskLibSectorType)2048)

/* ---- Saying what went wrong ---- */

/* Whether a call succeeded. If not, says what was done to what, and why it failed. */
static inline bool
ok(VixError error, const char *what, const char *object)
{
   char *text;

   if (VIX_SUCCEEDED(error)) {
      return true;
   }
   text = VixDiskLib_GetErrorText(error, NULL);
   fprintf(stderr, "%s %s: %s (code %" PRIu64 ")\n", what, object, text != NULL ? text : "no text",
           VIX_ERROR_CODE(error));
   VixDiskLib_FreeErrorText(text);
   return false;
}

/* Says what the user got wrong, or what the system refused. Always false. */
static inline bool
complain(const char *what, const char *object)
{
   fprintf(stderr, "%s: %s\n", object, what);
   return false;
}

/*
 * One line of the library. It comes on any thread, so it is printed by a single call; and some lines end with a new
 * line, others do not.
 */
static inline void
print_line(const char *kind, const char *fmt, va_list args)
{
   char line[4096];
   size_t length;

   vsnprintf(line, sizeof line, fmt, args);
   length = strlen(line);
   while (length > 0 && line[length - 1] == '\n') {
      line[--length] = '\0';
   }
   fprintf(stderr, "%s: %s\n", kind, line);
}

static inline void
on_log(const char *fmt, va_list args)
{
   if (getenv("VERBOSE") != NULL) {
      print_line("log", fmt, args);
   }
}

static inline void
on_warning(const char *fmt, va_list args)
{
   print_line("warning", fmt, args);
}

static inline void
on_panic(const char *fmt, va_list args)
{
   print_line("panic", fmt, args);
}

/* ---- Starting and stopping ---- */

/*
 * Starts the library and connects to the local disks. After success the program owes a `stop`. Once per process, from
 * the main thread.
 */
static inline bool
start(VixDiskLibConnection *connection)
{
   VixError error = VixDiskLib_InitEx(API_MAJOR, API_MINOR, on_log, on_warning, on_panic, NULL, NULL);

   if (!ok(error, "starting", "the library")) {
      return false;
   }
   if (!ok(VixDiskLib_Connect(NULL, connection), "connecting to", "local disks")) {
      VixDiskLib_Exit();
      return false;
   }
   return true;
}

/* Stops what `start` started, after all disks are closed. */
static inline bool
stop(VixDiskLibConnection connection)
{
   bool stopped = ok(VixDiskLib_Disconnect(connection), "disconnecting from", "local disks");

   VixDiskLib_Exit();
   return stopped;
}

/* The capacity of an open disk in sectors. */
static inline bool
get_capacity(VixDiskLibHandle disk, const char *path, VixDiskLibSectorType *capacity)
{
   VixDiskLibInfo *info = NULL;

   if (!ok(VixDiskLib_GetInfo(disk, &info), "asking for the capacity of", path)) {
      return false;
   }
   *capacity = info->capacity;
   VixDiskLib_FreeInfo(info);
   return true;
}

/* Prints how far an operation is, for `VixDiskLib_Create` and others. What it returns is ignored. */
static inline Bool
on_progress(void *data, int percent)
{
   fprintf(stderr, "\r%s %3d %%%s", (const char *)data, percent, percent == 100 ? "\n" : "");
   return TRUE;
}

/* ---- The command line ---- */

/* A whole number, up to `most`. */
static inline bool
number(const char *text, uint64 most, uint64 *value)
{
   char *end = NULL;
   unsigned long long parsed = strtoull(text, &end, 0);

   /* A number that is too large gives the largest there is. */
   if (text[0] < '0' || text[0] > '9' || *end != '\0' || parsed > most) {
      return complain("not a number, or too large", text);
   }
   *value = parsed;
   return true;
}

/* The largest number of bytes or sectors that anything here takes. */
#define ANY_NUMBER ((uint64)1 << 40)

typedef struct {
   const char *word;
   VixDiskLibDiskType type;
} TypeName;

/* The types that local disks may have. */
static const TypeName TYPES[] = {
   {"sparse", VIXDISKLIB_DISK_MONOLITHIC_SPARSE}, {"flat", VIXDISKLIB_DISK_MONOLITHIC_FLAT},
   {"split-sparse", VIXDISKLIB_DISK_SPLIT_SPARSE}, {"split-flat", VIXDISKLIB_DISK_SPLIT_FLAT},
   {"vmfs-flat", VIXDISKLIB_DISK_VMFS_FLAT},       {"stream", VIXDISKLIB_DISK_STREAM_OPTIMIZED},
};
#define TYPE_WORDS "sparse|flat|split-sparse|split-flat|vmfs-flat|stream"

/* The type of a disk by its word. */
static inline bool
type_by_word(const char *word, VixDiskLibDiskType *type)
{
   size_t i;

   for (i = 0; i < sizeof TYPES / sizeof TYPES[0]; i++) {
      if (strcmp(word, TYPES[i].word) == 0) {
         *type = TYPES[i].type;
         return true;
      }
   }
   return complain("no type; there are " TYPE_WORDS, word);
}

/* How a disk is to be made, all that is not said here being zero. */
static inline VixDiskLibCreateParams
create_params(VixDiskLibDiskType type, VixDiskLibSectorType capacity)
{
   VixDiskLibCreateParams params;

   /* Later releases have more members than earlier ones, and read them all. */
   memset(&params, 0, sizeof params);
   params.diskType = type;
   params.adapterType = VIXDISKLIB_ADAPTER_SCSI_LSILOGIC;
   params.hwVersion = VIXDISKLIB_HWVERSION_ESX65;
   params.capacity = capacity;
   return params;
}

/* Prints how the program is called; gives the exit status for a wrong call. */
static inline int
usage(const char *arguments)
{
   fprintf(stderr, "usage: %s\n", arguments);
   return 2;
}

/* The exit status of a program that did, or did not do, what it is for. Output that was lost is a failure too. */
static inline int
status(bool done)
{
   if (fflush(stdout) != 0 || ferror(stdout)) {
      done = complain("cannot be written", "standard output");
   }
   return done ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
