/*
 * Error codes of VixDiskLib and VixMntapi. Part of vixdisklib; licence: MIT OR Apache-2.0.
 * Included by vixDiskLib.h; programs do not include it directly.
 *
 * Clean-room: numbers and names are functional facts, every text is ours. Source of the whole table: open-vm-tools,
 * vix.h, whose numbered list is the one that VDDK shares; the constants of VMware's archived safekeeping project
 * agree but for 3028 and 3029. Codes 14014 and 14015 came with VDDK 7.0. Misspelled names are part of the API.
 * The list is open-ended: treat a number that is not here as opaque.
 */

#ifndef _VIX_DISK_LIB_ERRORS_H_
#define _VIX_DISK_LIB_ERRORS_H_

#include "vm_basic_types.h"

/**
 * The result of a call. Bits 0 to 15 are the code; the others may carry detail whose layout is not published, so mask
 * before you compare with anything but `VIX_OK`, and pass the whole value to `VixDiskLib_GetErrorText`.
 */
typedef uint64 VixError;

/** The code of an error, without its detail. */
#define VIX_ERROR_CODE(err) ((err) & 0xFFFF)
/** Whether a call succeeded. `VIX_ASYNC` counts as failed: look for it first. */
#define VIX_SUCCEEDED(err) (VIX_OK == (err))
/** Whether a call failed; see `VIX_SUCCEEDED`. */
#define VIX_FAILED(err) (VIX_OK != (err))

/* One comment and one `NAME = NUMBER,` per code: the table of the Rust crate is generated from these lines. */
enum {
   /* General. */
   /** success */
   VIX_OK = 0,
   /** unspecified failure */
   VIX_E_FAIL = 1,
   /** out of memory, here or in the NFC server of the host */
   VIX_E_OUT_OF_MEMORY = 2,
   /** bad argument value, alignment or range */
   VIX_E_INVALID_ARG = 3,
   /** file not found */
   VIX_E_FILE_NOT_FOUND = 4,
   /** object in use */
   VIX_E_OBJECT_IS_BUSY = 5,
   /** operation not supported */
   VIX_E_NOT_SUPPORTED = 6,
   /** file input or output failed */
   VIX_E_FILE_ERROR = 7,
   /** no space left on the file system */
   VIX_E_DISK_FULL = 8,
   /** file is of another type */
   VIX_E_INCORRECT_FILE_TYPE = 9,
   /** operation cancelled */
   VIX_E_CANCELLED = 10,
   /** target is read-only */
   VIX_E_FILE_READ_ONLY = 11,
   /** file already exists */
   VIX_E_FILE_ALREADY_EXISTS = 12,
   /** file cannot be accessed */
   VIX_E_FILE_ACCESS_ERROR = 13,
   /** host file system lacks large-file support */
   VIX_E_REQUIRES_LARGE_FILES = 14,
   /** file is locked by someone else */
   VIX_E_FILE_ALREADY_LOCKED = 15,
   /** internal VMDB failure */
   VIX_E_VMDB = 16,
   /** operation not supported on a remote object */
   VIX_E_NOT_SUPPORTED_ON_REMOTE_OBJECT = 20,
   /** file exceeds file-system limit */
   VIX_E_FILE_TOO_BIG = 21,
   /** illegal file name */
   VIX_E_FILE_NAME_INVALID = 22,
   /** name or item already present */
   VIX_E_ALREADY_EXISTS = 23,
   /** output buffer too small */
   VIX_E_BUFFER_TOOSMALL = 24,
   /** object lookup failed */
   VIX_E_OBJECT_NOT_FOUND = 25,
   /** not connected to host */
   VIX_E_HOST_NOT_CONNECTED = 26,
   /** string is not valid UTF-8 */
   VIX_E_INVALID_UTF8_STRING = 27,
   /** job still running */
   VIX_E_UNFINISHED_JOB = 29,
   /** decryption key required */
   VIX_E_NEED_KEY = 30,
   /** same operation already running */
   VIX_E_OPERATION_ALREADY_IN_PROGRESS = 31,
   /** licence forbids operation */
   VIX_E_LICENSE = 32,
   /** VM's host is disconnected */
   VIX_E_VM_HOST_DISCONNECTED = 34,
   /** login rejected */
   VIX_E_AUTHENTICATION_FAIL = 35,
   /** connection to host lost */
   VIX_E_HOST_CONNECTION_LOST = 36,
   /** name already used */
   VIX_E_DUPLICATE_NAME = 41,
   /** argument too long */
   VIX_E_ARGUMENT_TOO_BIG = 44,

   /* Handle, XML. */
   /** handle invalid */
   VIX_E_INVALID_HANDLE = 1000,
   /** operation does not fit handle type */
   VIX_E_NOT_SUPPORTED_ON_HANDLE_TYPE = 1001,
   /** handle limit reached */
   VIX_E_TOO_MANY_HANDLES = 1002,
   /** XML item not found */
   VIX_E_NOT_FOUND = 2000,
   /** XML value has wrong type */
   VIX_E_TYPE_MISMATCH = 2001,
   /** XML malformed */
   VIX_E_INVALID_XML = 2002,

   /* VM control. */
   /** guest tools did not start in time */
   VIX_E_TIMEOUT_WAITING_FOR_TOOLS = 3000,
   /** unknown command */
   VIX_E_UNRECOGNIZED_COMMAND = 3001,
   /** guest OS cannot do this */
   VIX_E_OP_NOT_SUPPORTED_ON_GUEST = 3003,
   /** guest program failed to start */
   VIX_E_PROGRAM_NOT_STARTED = 3004,
   /** VM is read-only, cannot power on */
   VIX_E_CANNOT_START_READ_ONLY_VM = 3005,
   /** VM is off */
   VIX_E_VM_NOT_RUNNING = 3006,
   /** VM is on */
   VIX_E_VM_IS_RUNNING = 3007,
   /** cannot reach the VM process */
   VIX_E_CANNOT_CONNECT_TO_VM = 3008,
   /** power scripts missing */
   VIX_E_POWEROP_SCRIPTS_NOT_AVAILABLE = 3009,
   /** no guest OS */
   VIX_E_NO_GUEST_OS_INSTALLED = 3010,
   /** host is short of memory */
   VIX_E_VM_INSUFFICIENT_HOST_MEMORY = 3011,
   /** suspend failed */
   VIX_E_SUSPEND_ERROR = 3012,
   /** too few CPUs */
   VIX_E_VM_NOT_ENOUGH_CPUS = 3013,
   /** host account lacks rights */
   VIX_E_HOST_USER_PERMISSIONS = 3014,
   /** guest account lacks rights */
   VIX_E_GUEST_USER_PERMISSIONS = 3015,
   /** tools not running in guest */
   VIX_E_TOOLS_NOT_RUNNING = 3016,
   /** guest operations disabled */
   VIX_E_GUEST_OPERATIONS_PROHIBITED = 3017,
   /** anonymous guest operations disabled */
   VIX_E_ANON_GUEST_OPERATIONS_PROHIBITED = 3018,
   /** root guest operations disabled */
   VIX_E_ROOT_GUEST_OPERATIONS_PROHIBITED = 3019,
   /** no anonymous guest account set */
   VIX_E_MISSING_ANON_GUEST_ACCOUNT = 3023,
   /** guest login failed */
   VIX_E_CANNOT_AUTHENTICATE_WITH_GUEST = 3024,
   /** tools do not know the command */
   VIX_E_UNRECOGNIZED_COMMAND_IN_GUEST = 3025,
   /** console guest operations disabled */
   VIX_E_CONSOLE_GUEST_OPERATIONS_PROHIBITED = 3026,
   /** only console user may do this */
   VIX_E_MUST_BE_CONSOLE_USER = 3027,
   /** VM asked a question and no UI is attached */
   VIX_E_VMX_MSG_DIALOG_AND_NO_UI = 3028,
   /** withdrawn: blocked while recording */
   VIX_E_NOT_ALLOWED_DURING_VM_RECORDING = 3029,
   /** withdrawn: blocked while replaying */
   VIX_E_NOT_ALLOWED_DURING_VM_REPLAY = 3030,
   /** blocked for this login type */
   VIX_E_OPERATION_NOT_ALLOWED_FOR_LOGIN_TYPE = 3031,
   /** login type unknown */
   VIX_E_LOGIN_TYPE_NOT_SUPPORTED = 3032,
   /** guest refuses empty password */
   VIX_E_EMPTY_PASSWORD_NOT_ALLOWED_IN_GUEST = 3033,
   /** no interactive guest session */
   VIX_E_INTERACTIVE_SESSION_NOT_PRESENT = 3034,
   /** interactive session belongs to another user */
   VIX_E_INTERACTIVE_SESSION_USER_MISMATCH = 3035,
   /** withdrawn: replay failed */
   VIX_E_UNABLE_TO_REPLAY_VM = 3039,
   /** power-on failed */
   VIX_E_CANNOT_POWER_ON_VM = 3041,
   /** no display server on host */
   VIX_E_NO_DISPLAY_SERVER = 3043,
   /** withdrawn: VM not recording */
   VIX_E_VM_NOT_RECORDING = 3044,
   /** withdrawn: VM not replaying */
   VIX_E_VM_NOT_REPLAYING = 3045,
   /** too many guest logins */
   VIX_E_TOO_MANY_LOGONS = 3046,
   /** guest session id invalid */
   VIX_E_INVALID_AUTHENTICATION_SESSION = 3047,

   /* VM, property, completion, message. */
   /** VM not found */
   VIX_E_VM_NOT_FOUND = 4000,
   /** not supported for this virtual hardware version */
   VIX_E_NOT_SUPPORTED_FOR_VM_VERSION = 4001,
   /** VM configuration unreadable */
   VIX_E_CANNOT_READ_VM_CONFIG = 4002,
   /** VM is a template */
   VIX_E_TEMPLATE_VM = 4003,
   /** VM already loaded */
   VIX_E_VM_ALREADY_LOADED = 4004,
   /** VM already current */
   VIX_E_VM_ALREADY_UP_TO_DATE = 4006,
   /** guest OS not supported */
   VIX_E_VM_UNSUPPORTED_GUEST = 4011,
   /** property id unknown */
   VIX_E_UNRECOGNIZED_PROPERTY = 6000,
   /** property value illegal */
   VIX_E_INVALID_PROPERTY_VALUE = 6001,
   /** property is read-only */
   VIX_E_READ_ONLY_PROPERTY = 6002,
   /** required property missing */
   VIX_E_MISSING_REQUIRED_PROPERTY = 6003,
   /** serialized data damaged */
   VIX_E_INVALID_SERIALIZED_DATA = 6004,
   /** property type mismatch */
   VIX_E_PROPERTY_TYPE_MISMATCH = 6005,
   /** VM index out of range */
   VIX_E_BAD_VM_INDEX = 8000,
   /** message header invalid */
   VIX_E_INVALID_MESSAGE_HEADER = 10000,
   /** message body invalid */
   VIX_E_INVALID_MESSAGE_BODY = 10001,

   /* Snapshot. */
   /** snapshot argument invalid */
   VIX_E_SNAPSHOT_INVAL = 13000,
   /** snapshot state writer failed */
   VIX_E_SNAPSHOT_DUMPER = 13001,
   /** snapshot disk failure */
   VIX_E_SNAPSHOT_DISKLIB = 13002,
   /** snapshot not found */
   VIX_E_SNAPSHOT_NOTFOUND = 13003,
   /** snapshot exists */
   VIX_E_SNAPSHOT_EXISTS = 13004,
   /** snapshot version mismatch */
   VIX_E_SNAPSHOT_VERSION = 13005,
   /** no rights on snapshot */
   VIX_E_SNAPSHOT_NOPERM = 13006,
   /** snapshot configuration error */
   VIX_E_SNAPSHOT_CONFIG = 13007,
   /** nothing to change */
   VIX_E_SNAPSHOT_NOCHANGE = 13008,
   /** checkpoint could not be saved */
   VIX_E_SNAPSHOT_CHECKPOINT = 13009,
   /** snapshot locked */
   VIX_E_SNAPSHOT_LOCKED = 13010,
   /** snapshot state inconsistent */
   VIX_E_SNAPSHOT_INCONSISTENT = 13011,
   /** snapshot name too long */
   VIX_E_SNAPSHOT_NAMETOOLONG = 13012,
   /** snapshot support file damaged */
   VIX_E_SNAPSHOT_VIXFILE = 13013,
   /** snapshot disk locked */
   VIX_E_SNAPSHOT_DISKLOCKED = 13014,
   /** disk listed twice */
   VIX_E_SNAPSHOT_DUPLICATEDDISK = 13015,
   /** independent disk cannot be snapshotted */
   VIX_E_SNAPSHOT_INDEPENDENTDISK = 13016,
   /** snapshot name not unique */
   VIX_E_SNAPSHOT_NONUNIQUE_NAME = 13017,
   /** memory snapshot with independent disk */
   VIX_E_SNAPSHOT_MEMORY_ON_INDEPENDENT_DISK = 13018,
   /** snapshot limit reached */
   VIX_E_SNAPSHOT_MAXSNAPSHOTS = 13019,
   /** not enough free space for snapshot */
   VIX_E_SNAPSHOT_MIN_FREE_SPACE = 13020,
   /** snapshot chain too deep */
   VIX_E_SNAPSHOT_HIERARCHY_TOODEEP = 13021,
   /** deprecated: replay/suspend conflict */
   VIX_E_SNAPSHOT_RRSUSPEND = 13022,
   /** cannot revert to it */
   VIX_E_SNAPSHOT_NOT_REVERTABLE = 13024,

   /* Host and network transport. */
   /** host disk value out of range */
   VIX_E_HOST_DISK_INVALID_VALUE = 14003,
   /** host sector size unsuitable */
   VIX_E_HOST_DISK_SECTORSIZE = 14004,
   /** unexpected end of file */
   VIX_E_HOST_FILE_ERROR_EOF = 14005,
   /** NBD handshake failed */
   VIX_E_HOST_NETBLKDEV_HANDSHAKE = 14006,
   /** socket could not be created */
   VIX_E_HOST_SOCKET_CREATION_ERROR = 14007,
   /** server name not resolved */
   VIX_E_HOST_SERVER_NOT_FOUND = 14008,
   /** connection refused */
   VIX_E_HOST_NETWORK_CONN_REFUSED = 14009,
   /** TCP socket error */
   VIX_E_HOST_TCP_SOCKET_ERROR = 14010,
   /** TCP connection lost */
   VIX_E_HOST_TCP_CONN_LOST = 14011,
   /** NBD hash file: volume error */
   VIX_E_HOST_NBD_HASHFILE_VOLUME = 14012,
   /** NBD hash file: init error */
   VIX_E_HOST_NBD_HASHFILE_INIT = 14013,
   /** server is shutting down */
   VIX_E_HOST_SERVER_SHUTDOWN = 14014,
   /** server not available */
   VIX_E_HOST_SERVER_NOT_AVAILABLE = 14015,

   /* Disk library. */
   /** disk handle or parameter invalid */
   VIX_E_DISK_INVAL = 16000,
   /** disk library not initialised */
   VIX_E_DISK_NOINIT = 16001,
   /** disk read/write failure */
   VIX_E_DISK_NOIO = 16002,
   /** chain incomplete */
   VIX_E_DISK_PARTIALCHAIN = 16003,
   /** disk needs repair */
   VIX_E_DISK_NEEDSREPAIR = 16006,
   /** sector outside disk */
   VIX_E_DISK_OUTOFRANGE = 16007,
   /** content id of parent and child differ */
   VIX_E_DISK_CID_MISMATCH = 16008,
   /** disk cannot shrink */
   VIX_E_DISK_CANTSHRINK = 16009,
   /** partition table differs from the recorded one */
   VIX_E_DISK_PARTMISMATCH = 16010,
   /** disk format too new */
   VIX_E_DISK_UNSUPPORTEDDISKVERSION = 16011,
   /** parent could not be opened */
   VIX_E_DISK_OPENPARENT = 16012,
   /** disk feature unsupported */
   VIX_E_DISK_NOTSUPPORTED = 16013,
   /** disk is encrypted and needs a key */
   VIX_E_DISK_NEEDKEY = 16014,
   /** key override not possible */
   VIX_E_DISK_NOKEYOVERRIDE = 16015,
   /** disk is not encrypted */
   VIX_E_DISK_NOTENCRYPTED = 16016,
   /** no key available */
   VIX_E_DISK_NOKEY = 16017,
   /** partition table invalid */
   VIX_E_DISK_INVALIDPARTITIONTABLE = 16018,
   /** disk is not of an ordinary kind */
   VIX_E_DISK_NOTNORMAL = 16019,
   /** descriptor is not encrypted */
   VIX_E_DISK_NOTENCDESC = 16020,
   /** needs a VMFS volume */
   VIX_E_DISK_NEEDVMFS = 16022,
   /** physical disk larger than supported */
   VIX_E_DISK_RAWTOOBIG = 16024,
   /** too many open files on host */
   VIX_E_DISK_TOOMANYOPENFILES = 16027,
   /** too many redo logs */
   VIX_E_DISK_TOOMANYREDO = 16028,
   /** physical disk smaller than recorded */
   VIX_E_DISK_RAWTOOSMALL = 16029,
   /** chain inconsistent */
   VIX_E_DISK_INVALIDCHAIN = 16030,
   /** metadata key absent */
   VIX_E_DISK_KEY_NOTFOUND = 16052,
   /** disk subsystem failed to initialise */
   VIX_E_DISK_SUBSYSTEM_INIT_FAIL = 16053,
   /** connection value invalid for this disk */
   VIX_E_DISK_INVALID_CONNECTION = 16054,
   /** character-encoding problem in descriptor */
   VIX_E_DISK_ENCODING = 16061,
   /** repair impossible */
   VIX_E_DISK_CANTREPAIR = 16062,
   /** not a valid disk */
   VIX_E_DISK_INVALIDDISK = 16063,
   /** disk operation lacks licence */
   VIX_E_DISK_NOLICENSE = 16064,
   /** no such device */
   VIX_E_DISK_NODEVICE = 16065,
   /** device type unsupported */
   VIX_E_DISK_UNSUPPORTEDDEVICE = 16066,
   /** capacities of parent and child differ */
   VIX_E_DISK_CAPACITY_MISMATCH = 16067,
   /** parent present where none allowed */
   VIX_E_DISK_PARENT_NOTALLOWED = 16068,
   /** root link of a chain cannot be attached */
   VIX_E_DISK_ATTACH_ROOTLINK = 16069,

   /* Crypto. */
   /** cipher unknown */
   VIX_E_CRYPTO_UNKNOWN_ALGORITHM = 17000,
   /** crypto buffer size wrong */
   VIX_E_CRYPTO_BAD_BUFFER_SIZE = 17001,
   /** crypto operation invalid */
   VIX_E_CRYPTO_INVALID_OPERATION = 17002,
   /** random source failed */
   VIX_E_CRYPTO_RANDOM_DEVICE = 17003,
   /** password needed */
   VIX_E_CRYPTO_NEED_PASSWORD = 17004,
   /** password wrong */
   VIX_E_CRYPTO_BAD_PASSWORD = 17005,
   /** entry not in key dictionary */
   VIX_E_CRYPTO_NOT_IN_DICTIONARY = 17006,
   /** crypto not built in */
   VIX_E_CRYPTO_NO_CRYPTO = 17007,
   /** crypto failure */
   VIX_E_CRYPTO_ERROR = 17008,
   /** crypto data malformed */
   VIX_E_CRYPTO_BAD_FORMAT = 17009,
   /** key store locked */
   VIX_E_CRYPTO_LOCKED = 17010,
   /** key store empty */
   VIX_E_CRYPTO_EMPTY = 17011,
   /** key-safe locator problem */
   VIX_E_CRYPTO_KEYSAFE_LOCATOR = 17012,

   /* Remoting, screen, guest. */
   /** host unreachable or session lost */
   VIX_E_CANNOT_CONNECT_TO_HOST = 18000,
   /** only for local host */
   VIX_E_NOT_FOR_REMOTE_HOST = 18001,
   /** host name syntax wrong */
   VIX_E_INVALID_HOSTNAME_SPECIFICATION = 18002,
   /** capture failed */
   VIX_E_SCREEN_CAPTURE_ERROR = 19000,
   /** capture format unsupported */
   VIX_E_SCREEN_CAPTURE_BAD_FORMAT = 19001,
   /** compression of capture failed */
   VIX_E_SCREEN_CAPTURE_COMPRESSION_FAIL = 19002,
   /** capture too large */
   VIX_E_SCREEN_CAPTURE_LARGE_DATA = 19003,
   /** guest volumes not quiesced */
   VIX_E_GUEST_VOLUMES_NOT_FROZEN = 20000,
   /** not a regular file */
   VIX_E_NOT_A_FILE = 20001,
   /** not a directory */
   VIX_E_NOT_A_DIRECTORY = 20002,
   /** process not found */
   VIX_E_NO_SUCH_PROCESS = 20003,
   /** name too long */
   VIX_E_FILE_NAME_TOO_LONG = 20004,
   /** operation disabled */
   VIX_E_OPERATION_DISABLED = 20005,

   /* Tools install and wrapper. */
   /** tools image not available */
   VIX_E_TOOLS_INSTALL_NO_IMAGE = 21000,
   /** tools image unreadable */
   VIX_E_TOOLS_INSTALL_IMAGE_INACCESIBLE = 21001,
   /** no device for tools image */
   VIX_E_TOOLS_INSTALL_NO_DEVICE = 21002,
   /** device not connected */
   VIX_E_TOOLS_INSTALL_DEVICE_NOT_CONNECTED = 21003,
   /** tools install cancelled */
   VIX_E_TOOLS_INSTALL_CANCELLED = 21004,
   /** tools install could not start */
   VIX_E_TOOLS_INSTALL_INIT_FAILED = 21005,
   /** automatic install unsupported */
   VIX_E_TOOLS_INSTALL_AUTO_NOT_SUPPORTED = 21006,
   /** guest not ready */
   VIX_E_TOOLS_INSTALL_GUEST_NOT_READY = 21007,
   /** signature check failed */
   VIX_E_TOOLS_INSTALL_SIG_CHECK_FAILED = 21008,
   /** tools install failed */
   VIX_E_TOOLS_INSTALL_ERROR = 21009,
   /** tools already current */
   VIX_E_TOOLS_INSTALL_ALREADY_UP_TO_DATE = 21010,
   /** tools install running */
   VIX_E_TOOLS_INSTALL_IN_PROGRESS = 21011,
   /** copying tools image failed */
   VIX_E_TOOLS_INSTALL_IMAGE_COPY_FAILED = 21012,
   /** Workstation absent */
   VIX_E_WRAPPER_WORKSTATION_NOT_INSTALLED = 22001,
   /** wrapper version not found */
   VIX_E_WRAPPER_VERSION_NOT_FOUND = 22002,
   /** provider not found */
   VIX_E_WRAPPER_SERVICEPROVIDER_NOT_FOUND = 22003,
   /** Player absent */
   VIX_E_WRAPPER_PLAYER_NOT_INSTALLED = 22004,
   /** runtime absent */
   VIX_E_WRAPPER_RUNTIME_NOT_INSTALLED = 22005,
   /** several providers found */
   VIX_E_WRAPPER_MULTIPLE_SERVICEPROVIDERS = 22006,

   /* FuseMnt. */
   /** mount point absent */
   VIX_E_MNTAPI_MOUNTPT_NOT_FOUND = 24000,
   /** mount point busy */
   VIX_E_MNTAPI_MOUNTPT_IN_USE = 24001,
   /** disk not found */
   VIX_E_MNTAPI_DISK_NOT_FOUND = 24002,
   /** disk not mounted */
   VIX_E_MNTAPI_DISK_NOT_MOUNTED = 24003,
   /** disk already mounted */
   VIX_E_MNTAPI_DISK_IS_MOUNTED = 24004,
   /** disk not in safe state */
   VIX_E_MNTAPI_DISK_NOT_SAFE = 24005,
   /** disk cannot be opened */
   VIX_E_MNTAPI_DISK_CANT_OPEN = 24006,
   /** partition table unreadable */
   VIX_E_MNTAPI_CANT_READ_PARTS = 24007,
   /** unmount helper missing */
   VIX_E_MNTAPI_UMOUNT_APP_NOT_FOUND = 24008,
   /** unmount failed */
   VIX_E_MNTAPI_UMOUNT = 24009,
   /** no partition can be mounted */
   VIX_E_MNTAPI_NO_MOUNTABLE_PARTITONS = 24010,
   /** partition number out of range */
   VIX_E_MNTAPI_PARTITION_RANGE = 24011,
   /** permission denied */
   VIX_E_MNTAPI_PERM = 24012,
   /** dictionary error */
   VIX_E_MNTAPI_DICT = 24013,
   /** dictionary locked */
   VIX_E_MNTAPI_DICT_LOCKED = 24014,
   /** handles still open */
   VIX_E_MNTAPI_OPEN_HANDLES = 24015,
   /** cannot create state directory */
   VIX_E_MNTAPI_CANT_MAKE_VAR_DIR = 24016,
   /** root rights required */
   VIX_E_MNTAPI_NO_ROOT = 24017,
   /** loop device failed */
   VIX_E_MNTAPI_LOOP_FAILED = 24018,
   /** mount daemon failed */
   VIX_E_MNTAPI_DAEMON = 24019,
   /** internal mount failure */
   VIX_E_MNTAPI_INTERNAL = 24020,
   /** system call failed */
   VIX_E_MNTAPI_SYSTEM = 24021,
   /** connection details missing */
   VIX_E_MNTAPI_NO_CONNECTION_DETAILS = 24022,

   /* VixMntapi. */
   /** mount library version mismatch */
   VIX_E_MNTAPI_INCOMPATIBLE_VERSION = 24300,
   /** operating-system error */
   VIX_E_MNTAPI_OS_ERROR = 24301,
   /** drive letter in use */
   VIX_E_MNTAPI_DRIVE_LETTER_IN_USE = 24302,
   /** drive letter already assigned */
   VIX_E_MNTAPI_DRIVE_LETTER_ALREADY_ASSIGNED = 24303,
   /** volume not mounted */
   VIX_E_MNTAPI_VOLUME_NOT_MOUNTED = 24304,
   /** volume already mounted */
   VIX_E_MNTAPI_VOLUME_ALREADY_MOUNTED = 24305,
   /** format failed */
   VIX_E_MNTAPI_FORMAT_FAILURE = 24306,
   /** driver not installed */
   VIX_E_MNTAPI_NO_DRIVER = 24307,
   /** already open */
   VIX_E_MNTAPI_ALREADY_OPENED = 24308,
   /** item not found */
   VIX_E_MNTAPI_ITEM_NOT_FOUND = 24309,
   /** boot loader not supported */
   VIX_E_MNTAPI_UNSUPPROTED_BOOT_LOADER = 24310,
   /** operating system not supported */
   VIX_E_MNTAPI_UNSUPPROTED_OS = 24311,
   /** character conversion failed */
   VIX_E_MNTAPI_CODECONVERSION = 24312,
   /** registry write failed */
   VIX_E_MNTAPI_REGWRITE_ERROR = 24313,
   /** fault-tolerant volume unsupported */
   VIX_E_MNTAPI_UNSUPPORTED_FT_VOLUME = 24314,
   /** partition not found */
   VIX_E_MNTAPI_PARTITION_NOT_FOUND = 24315,
   /** file upload failed */
   VIX_E_MNTAPI_PUTFILE_ERROR = 24316,
   /** file download failed */
   VIX_E_MNTAPI_GETFILE_ERROR = 24317,
   /** registry hive not open */
   VIX_E_MNTAPI_REG_NOT_OPENED = 24318,
   /** registry key delete failed */
   VIX_E_MNTAPI_REGDELKEY_ERROR = 24319,
   /** partition table creation failed */
   VIX_E_MNTAPI_CREATE_PARTITIONTABLE_ERROR = 24320,
   /** open failed */
   VIX_E_MNTAPI_OPEN_FAILURE = 24321,
   /** volume not writable */
   VIX_E_MNTAPI_VOLUME_NOT_WRITABLE = 24322,

   /* Async and HTTP. */
   /** request accepted, it completes later */
   VIX_ASYNC = 25000,
   /** synchronous and asynchronous calls mixed on one handle */
   VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED = 26000,
   /** URL scheme unsupported */
   VIX_E_NET_HTTP_UNSUPPORTED_PROTOCOL = 30001,
   /** URL malformed */
   VIX_E_NET_HTTP_URL_MALFORMAT = 30003,
   /** proxy name not resolved */
   VIX_E_NET_HTTP_COULDNT_RESOLVE_PROXY = 30005,
   /** host name not resolved */
   VIX_E_NET_HTTP_COULDNT_RESOLVE_HOST = 30006,
   /** HTTP connect failed */
   VIX_E_NET_HTTP_COULDNT_CONNECT = 30007,
   /** HTTP error status */
   VIX_E_NET_HTTP_HTTP_RETURNED_ERROR = 30022,
   /** HTTP time-out */
   VIX_E_NET_HTTP_OPERATION_TIMEDOUT = 30028,
   /** TLS handshake failed */
   VIX_E_NET_HTTP_SSL_CONNECT_ERROR = 30035,
   /** too many redirects */
   VIX_E_NET_HTTP_TOO_MANY_REDIRECTS = 30047,
   /** HTTP transfer failed */
   VIX_E_NET_HTTP_TRANSFER = 30200,
   /** TLS security failure */
   VIX_E_NET_HTTP_SSL_SECURITY = 30201,
   /** HTTP generic failure */
   VIX_E_NET_HTTP_GENERIC = 30202
};

#endif /* _VIX_DISK_LIB_ERRORS_H_ */
