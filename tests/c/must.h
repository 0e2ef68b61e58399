/*
 * What the test programs share: any surprise ends them with status 1 and a line that says where.
 */

#ifndef MUST_H
#define MUST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vixDiskLib.h"

/* What the library last warned of, in a call that was to succeed if nobody cleared it. */
static char complaint[4096];

static inline void
fail(const char *file, int line, const char *what, VixError error)
{
   char *text = VixDiskLib_GetErrorText(error, NULL);

   fprintf(stderr, "%s:%d: %s: %s (%llu)\n", file, line, what, text != NULL ? text : "no text",
           (unsigned long long)error);
   VixDiskLib_FreeErrorText(text);
   exit(1);
}

/* A call that succeeds, without a warning. */
#define MUST(call)                                    \
   do {                                               \
      VixError result_ = (call);                      \
      if (VIX_FAILED(result_)) {                      \
         fail(__FILE__, __LINE__, #call, result_);    \
      }                                               \
      if (complaint[0] != '\0') {                     \
         fail(__FILE__, __LINE__, complaint, VIX_OK); \
      }                                               \
   } while (0)

/* A call that fails with this code, and says why. */
#define MUST_FAIL(call, code)                                          \
   do {                                                                \
      VixError result_ = (call);                                       \
      if (VIX_ERROR_CODE(result_) != (VixError)(code)) {               \
         fail(__FILE__, __LINE__, #call " gives not " #code, result_); \
      }                                                                \
      complaint[0] = '\0';                                             \
   } while (0)

#define CHECK(condition)                               \
   do {                                                \
      if (!(condition)) {                              \
         fail(__FILE__, __LINE__, #condition, VIX_OK); \
      }                                                \
   } while (0)

static inline void
on_log(const char *fmt, va_list args)
{
   char line[4096];

   CHECK(vsnprintf(line, sizeof line, fmt, args) > 0);
}

static inline void
on_warning(const char *fmt, va_list args)
{
   CHECK(vsnprintf(complaint, sizeof complaint, fmt, args) > 0);
}

/* Writes a file. */
static inline void
save(const char *path, const uint8 *content, size_t length)
{
   FILE *file = fopen(path, "wb");

   CHECK(file != NULL);
   CHECK(fwrite(content, 1, length, file) == length);
   CHECK(fclose(file) == 0);
}

#endif
