/* Format of GmcModel.image for the target cuda: the model's kernels once per architecture.
 *
 * A header, `count` entries, then the codes. Offsets count from the header's first byte. PTX ends with a zero byte,
 * which its size includes. A cubin runs on devices of its major version and at least its minor version; PTX is compiled
 * by the driver for any device of at least its version. Kernel names are those of GmcLaunch.name. */
#ifndef GMC_DEVICEIMAGE_H
#define GMC_DEVICEIMAGE_H

#include <stdint.h>

#define GMC_IMAGE_MAGIC 0x49434d47u /* "GMCI" */
#define GMC_IMAGE_VERSION 1u

enum { GMC_IMAGE_CUBIN = 1, GMC_IMAGE_PTX = 2 };

typedef struct GmcImageEntry {
  uint32_t sm;     /* 10 * major + minor, e.g. 75, 90, 120 */
  uint32_t kind;   /* GMC_IMAGE_* */
  uint64_t offset; /* a multiple of 64 */
  uint64_t size;   /* bytes */
} GmcImageEntry;

typedef struct GmcImageHeader {
  uint32_t magic, version, count, reserved;
} GmcImageHeader;

#endif
