// Copies what a virtual disk holds into a new one, with Node.js, the package koffi, and libvixDiskLib.so.
//
//   npm ci --ignore-scripts
//   node copy.mjs SOURCE.vmdk TARGET.vmdk [LIBRARY]
//
// LIBRARY is libvixDiskLib.so.8 by default, as the loader finds it, or the path of another one.
//
// Only what is allocated is read, by requests of which several are in flight; what was read is written in the same way.
// The SHA-256 of both disks shows that they hold the same.

import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import koffi from 'koffi';

const SECTOR = 512;
// The smallest unit that the library tells allocated from not, and the most of them that it tells of at once.
const CHUNK = 128, MOST_CHUNKS = 512 * 1024;
// 1 MiB: a request of this size is fast everywhere.
const PIECE = 2048;
const IN_FLIGHT = 8;
const READ_ONLY = 4;
const OK = 0, ASYNC = 25000;
const MONOLITHIC_SPARSE = 1, LSI_LOGIC = 3, HARDWARE = 13;

// ---- The library ----

koffi.pointer('Connection', koffi.opaque());
koffi.pointer('Disk', koffi.opaque());
koffi.struct('Geometry', { cylinders: 'uint32_t', heads: 'uint32_t', sectors: 'uint32_t' });
// The last two members of this and the next are there since release 7.0.
koffi.struct('Info', {
   biosGeometry: 'Geometry', geometry: 'Geometry', capacity: 'uint64_t', adapter: 'int', links: 'int',
   parentHint: 'const char *', uuid: 'const char *', logicalSectorSize: 'uint32_t', physicalSectorSize: 'uint32_t',
});
koffi.struct('CreateParams', {
   diskType: 'int', adapter: 'int', hardware: 'uint16_t', capacity: 'uint64_t',
   logicalSectorSize: 'uint32_t', physicalSectorSize: 'uint32_t',
});
koffi.struct('Block', { offset: 'uint64_t', length: 'uint64_t' });
// The blocks follow behind it.
koffi.struct('BlockList', { count: 'uint32_t', padding: 'uint32_t' });
// `va_list` is passed as a pointer by the C compilers of Linux on x86-64 and AArch64.
koffi.proto('void Log(const char *form, void *arguments)');
koffi.proto('void Completion(void *data, uint64_t error)');

const vsnprintf = koffi.load('libc.so.6')
   .func('int vsnprintf(_Out_ uint8_t *line, size_t size, const char *form, void *arguments)');

function warn(form, args) {
   const line = Buffer.alloc(4096);
   vsnprintf(line, line.length, form, args);
   console.error(koffi.decode(line, 'char', -1).trimEnd());
}

function load(path) {
   const library = koffi.load(path);
   const declared = [
      'uint64_t InitEx(uint32_t, uint32_t, Log *, Log *, Log *, const char *, const char *)',
      'void Exit()',
      'uint64_t Connect(void *, _Out_ Connection *)',
      'uint64_t Disconnect(Connection)',
      'uint64_t Create(Connection, const char *, CreateParams *, void *, void *)',
      'uint64_t Open(Connection, const char *, uint32_t, _Out_ Disk *)',
      'uint64_t Close(Disk)',
      'uint64_t GetInfo(Disk, _Out_ Info **)',
      'void FreeInfo(Info *)',
      'uint64_t Read(Disk, uint64_t, uint64_t, void *)',
      'uint64_t ReadAsync(Disk, uint64_t, uint64_t, void *, Completion *, void *)',
      'uint64_t WriteAsync(Disk, uint64_t, uint64_t, void *, Completion *, void *)',
      'uint64_t Wait(Disk)',
      'uint64_t Flush(Disk)',
      'uint64_t QueryAllocatedBlocks(Disk, uint64_t, uint64_t, uint64_t, _Out_ BlockList **)',
      'uint64_t FreeBlockList(BlockList *)',
      'void *GetErrorText(uint64_t, const char *)',
      'void FreeErrorText(void *)',
   ];
   const functions = {};
   for (const prototype of declared) {
      const name = /(\w+)\(/.exec(prototype)[1];
      functions[name] = library.func(prototype.replace(name, `VixDiskLib_${name}`));
   }
   return functions;
}

let vix;

/** Throws what the library says of a failure. */
function must(what, error) {
   if (Number(error) === OK) {
      return;
   }
   const text = vix.GetErrorText(error, null);
   const meaning = text === null ? 'no text' : koffi.decode(text, 'char', -1);
   vix.FreeErrorText(text);
   throw new Error(`cannot ${what}: ${meaning} (code ${BigInt(error) & 0xFFFFn})`);
}

/** What a function gives through its last argument, a pointer. */
function given(what, call) {
   const place = [null];
   must(what, call(place));
   return place[0];
}

// ---- Disks ----

class Disk {
   constructor(connection, path, flags) {
      this.path = path;
      this.handle = given(`open ${path}`, (place) => vix.Open(connection, path, flags, place));
   }

   /** After all requests have called back: callbacks come on this thread, which waits here. */
   close() {
      must(`close ${this.path}`, vix.Close(this.handle));
   }

   /** In sectors. */
   capacity() {
      const info = given(`ask about ${this.path}`, (place) => vix.GetInfo(this.handle, place));
      const { capacity } = koffi.decode(info, 'Info');
      vix.FreeInfo(info);
      return Number(capacity);
   }

   /** What is allocated, as first sector and number of sectors, in order and small enough for one request. */
   * pieces() {
      const capacity = this.capacity();
      const whole = capacity - capacity % CHUNK, portion = CHUNK * MOST_CHUNKS;
      for (let start = 0; start < whole; start += portion) {
         for (const { offset, length } of this.#blocks(start, Math.min(portion, whole - start))) {
            for (let first = offset; first < offset + length; first += PIECE) {
               yield { first, count: Math.min(PIECE, offset + length - first) };
            }
         }
      }
      // The rest of the last chunk cannot be asked for, so it counts as allocated.
      if (whole < capacity) {
         yield { first: whole, count: capacity - whole };
      }
   }

   #blocks(start, count) {
      const what = `ask for the blocks of ${this.path}`;
      const list = given(what, (place) => vix.QueryAllocatedBlocks(this.handle, start, count, CHUNK, place));
      const { count: length } = koffi.decode(list, 'BlockList');
      const blocks = koffi.decode(list, koffi.sizeof('BlockList'), 'Block', length);
      must('free the blocks', vix.FreeBlockList(list));
      return blocks.map(({ offset, length }) => ({ offset: Number(offset), length: Number(length) }));
   }

   /** The SHA-256 of the whole disk, in hexadecimal; with one call at a time. */
   checksum() {
      const digest = createHash('sha256');
      const buffer = koffi.alloc('uint8_t', PIECE * SECTOR);
      const content = new Uint8Array(koffi.view(buffer, PIECE * SECTOR));
      const zeroes = Buffer.alloc(PIECE * SECTOR);
      let position = 0;
      const skipTo = (sector) => {
         for (let count; position < sector; position += count) {
            count = Math.min(PIECE, sector - position);
            digest.update(zeroes.subarray(0, count * SECTOR));
         }
      };
      for (const { first, count } of this.pieces()) {
         skipTo(first);
         must(`read ${this.path}`, vix.Read(this.handle, first, count, buffer));
         digest.update(content.subarray(0, count * SECTOR));
         position += count;
      }
      skipTo(this.capacity());
      koffi.free(buffer);
      return digest.digest('hex');
   }
}

/** A buffer, which the library uses from the submission of a request to its callback. */
class Request {
   constructor() {
      this.buffer = koffi.alloc('uint8_t', PIECE * SECTOR);
      // The library calls it on a thread of its own; koffi then has it run here. What awaits the request must go on
      // later: a callback must not call the library.
      this.callback = koffi.register((_data, error) => { setImmediate(this.done, error); }, 'Completion *');
   }

   free() {
      koffi.unregister(this.callback);
      koffi.free(this.buffer);
   }

   /** Reads or writes a piece. */
   async run(submit, disk, { first, count }) {
      const what = `copy sector ${first} of ${disk.path}`;
      const error = await new Promise((settle) => {
         this.done = settle;
         const accepted = submit(disk.handle, first, count, this.buffer, this.callback, null);
         // Only this says that the callback comes.
         if (Number(accepted) !== ASYNC) {
            settle(accepted);
         }
      });
      must(what, error);
   }
}

/** Copies what is allocated: each of several requests reads a piece, writes it, and takes the next. */
async function copy(source, target) {
   const pieces = source.pieces();
   const requests = Array.from({ length: IN_FLIGHT }, () => new Request());
   const work = async (request) => {
      // The requests share the iterator, so that each piece is copied by one of them.
      for (let next = pieces.next(); !next.done; next = pieces.next()) {
         await request.run(vix.ReadAsync, source, next.value);
         await request.run(vix.WriteAsync, target, next.value);
      }
   };
   // Node ends when it has nothing left to do, and does not know of requests in flight.
   const stay = setInterval(() => {}, 1 << 30);
   // All must end before the disks are closed, also when one fails.
   const results = await Promise.allSettled(requests.map(work));
   clearInterval(stay);
   // Each callback has run, and maybe not returned yet.
   for (const disk of [source, target]) {
      must(`wait for ${disk.path}`, vix.Wait(disk.handle));
   }
   requests.forEach((request) => request.free());
   const failed = results.find(({ status }) => status === 'rejected');
   if (failed !== undefined) {
      throw failed.reason;
   }
   must(`flush ${target.path}`, vix.Flush(target.handle));
}

/** Opens a disk for as long as the function runs. */
async function withDisk(connection, path, flags, use) {
   const disk = new Disk(connection, path, flags);
   try {
      return await use(disk);
   } finally {
      disk.close();
   }
}

async function run(connection, sourcePath, targetPath) {
   const expected = await withDisk(connection, sourcePath, READ_ONLY, async (source) => {
      const params = {
         diskType: MONOLITHIC_SPARSE, adapter: LSI_LOGIC, hardware: HARDWARE, capacity: source.capacity(),
         logicalSectorSize: 0, physicalSectorSize: 0,
      };
      must(`create ${targetPath}`, vix.Create(connection, targetPath, params, null, null));
      await withDisk(connection, targetPath, 0, (target) => copy(source, target));
      return source.checksum();
   });
   const found = await withDisk(connection, targetPath, READ_ONLY, (target) => target.checksum());
   if (found !== expected) {
      throw new Error(`${targetPath} does not hold what ${sourcePath} does`);
   }
   console.log(expected);
}

async function main(sourcePath, targetPath, libraryPath = 'libvixDiskLib.so.8') {
   if (targetPath === undefined) {
      throw new Error('usage: node copy.mjs SOURCE.vmdk TARGET.vmdk [LIBRARY]');
   }
   vix = load(libraryPath);
   const functions = [() => {}, warn, warn].map((log) => koffi.register(log, 'Log *'));
   must('start', vix.InitEx(7, 0, ...functions, null, null));
   try {
      const connection = given('connect', (place) => vix.Connect(null, place));
      try {
         // VDDK wants absolute paths.
         await run(connection, resolve(sourcePath), resolve(targetPath));
      } finally {
         must('disconnect', vix.Disconnect(connection));
      }
   } finally {
      vix.Exit();
      functions.forEach((log) => koffi.unregister(log));
   }
}

try {
   await main(...process.argv.slice(2));
} catch (error) {
   console.error(error.message);
   process.exitCode = 1;
}
