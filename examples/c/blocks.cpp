// Prints where a disk holds data, as blocks.c does, with what C++ adds: everything is released by itself, in the right
// order, and errors are exceptions.
//
//   blocks DISK.vmdk

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "vixDiskLib.h"

namespace {

// Functions that release things, as types: they take no room beside the pointer.
template <auto function>
struct Release {
   template <typename T>
   void operator()(T *thing) const
   {
      function(thing);
   }
};

using Connection = std::unique_ptr<std::remove_pointer_t<VixDiskLibConnection>, Release<VixDiskLib_Disconnect>>;
using Disk = std::unique_ptr<std::remove_pointer_t<VixDiskLibHandle>, Release<VixDiskLib_Close>>;
using Info = std::unique_ptr<VixDiskLibInfo, Release<VixDiskLib_FreeInfo>>;
using BlockList = std::unique_ptr<VixDiskLibBlockList, Release<VixDiskLib_FreeBlockList>>;
using Text = std::unique_ptr<char, Release<VixDiskLib_FreeErrorText>>;

// Throws what the library says of a failure.
void
must(VixError error, const std::string &what)
{
   if (VIX_SUCCEEDED(error)) {
      return;
   }
   const Text text(VixDiskLib_GetErrorText(error, nullptr));
   throw std::runtime_error(what + ": " + (text ? text.get() : "no text"));
}

// Lines of the library. They come on any thread; one call each keeps them whole.
void
on_warning(const char *fmt, va_list args)
{
   char line[4096];

   std::vsnprintf(line, sizeof line, fmt, args);
   std::cerr << line + std::string("\n");
}

void
on_log(const char *, va_list)
{
}

// The library, for as long as this lives. One per process.
class Library {
public:
   Library()
   {
      must(VixDiskLib_InitEx(7, 0, on_log, on_warning, on_warning, nullptr, nullptr), "starting the library");
   }
   ~Library() { VixDiskLib_Exit(); }
   Library(const Library &) = delete;
   Library &operator=(const Library &) = delete;
};

Connection
connect_local()
{
   VixDiskLibConnection connection = nullptr;

   must(VixDiskLib_Connect(nullptr, &connection), "connecting to local disks");
   return Connection(connection);
}

Disk
open_read_only(const Connection &connection, const std::string &path)
{
   VixDiskLibHandle disk = nullptr;

   must(VixDiskLib_Open(connection.get(), path.c_str(), VIXDISKLIB_FLAG_OPEN_READ_ONLY, &disk), "opening " + path);
   return Disk(disk);
}

VixDiskLibSectorType
capacity_of(const Disk &disk)
{
   VixDiskLibInfo *info = nullptr;

   must(VixDiskLib_GetInfo(disk.get(), &info), "asking for the capacity");
   return Info(info)->capacity;
}

using Runs = std::vector<VixDiskLibBlock>;

// Adds a run, to the last one if it touches that.
void
add(Runs &runs, const VixDiskLibBlock &run)
{
   if (!runs.empty() && runs.back().offset + runs.back().length == run.offset) {
      runs.back().length += run.length;
   } else {
      runs.push_back(run);
   }
}

// The allocated runs of a whole disk, in order. What lies in none of them reads as zeros.
Runs
runs_of(const Disk &disk)
{
   constexpr VixDiskLibSectorType chunk = VIXDISKLIB_MIN_CHUNK_SIZE;
   constexpr VixDiskLibSectorType portion = chunk * VIXDISKLIB_MAX_CHUNK_NUMBER;
   const VixDiskLibSectorType capacity = capacity_of(disk);
   const VixDiskLibSectorType whole = capacity / chunk * chunk;
   Runs runs;

   for (VixDiskLibSectorType start = 0; start < whole; start += portion) {
      VixDiskLibBlockList *raw = nullptr;

      must(VixDiskLib_QueryAllocatedBlocks(disk.get(), start, std::min(portion, whole - start), chunk, &raw),
           "asking for the blocks");
      const BlockList list(raw);
      // The array is longer than its declaration says.
      const VixDiskLibBlock *blocks = list->blocks;
      for (std::uint32_t i = 0; i < list->numBlocks; i++) {
         add(runs, blocks[i]);
      }
   }
   // The rest of the last chunk cannot be asked for, so it counts as allocated.
   if (whole < capacity) {
      add(runs, {whole, capacity - whole});
   }
   return runs;
}

} // namespace

int
main(int argc, char **argv)
{
   if (argc != 2) {
      std::cerr << "usage: blocks DISK.vmdk\n";
      return 2;
   }
   try {
      const Library library;
      const Connection connection = connect_local();
      const Disk disk = open_read_only(connection, argv[1]);

      for (const auto &run : runs_of(disk)) {
         std::cout << run.offset << ' ' << run.length << '\n';
      }
      std::cout.flush();
      return std::cout ? 0 : 1;
   } catch (const std::exception &error) {
      std::cerr << error.what() << '\n';
      return 1;
   }
}
