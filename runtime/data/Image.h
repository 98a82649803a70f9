// Decoding JPEG and PNG row by row into a resized crop: memory is a few rows, however large the picture.
#ifndef GMC_DATA_IMAGE_H
#define GMC_DATA_IMAGE_H

#include "runtime/data/File.h"

#include <vector>

namespace gmc::rt {

/// Part [from, from + bytes) of a file that holds one JPEG or PNG.
struct ImageBytes {
  const File *file;
  uint64_t from, bytes;
};

struct ImageSize {
  int width, height;
};

/// A rectangle of the picture, in its pixels; may be fractional.
struct Window {
  double x, y, width, height;
};

/// Decodes the picture, 3 channels RGB or 1 channel gray. `choose` is told the picture's size and answers which window
/// of it becomes the output. The window is resampled to outWidth x outHeight with a triangle filter whose support
/// grows with the reduction (what Pillow calls BILINEAR and torchvision antialias=True; JPEGs that are reduced by two
/// or more are first reduced in the DCT domain). `out` is [channels][outHeight][outWidth], values in [0, 1].
/// Throws SampleError for a damaged picture, or one whose decoder would need more than ImageScratchBytes
/// (progressive JPEG, interlaced PNG).
class ImageReader {
public:
  template <typename Choose>
  void read(const ImageBytes &image, int channels, int outWidth, int outHeight, float *out, Choose &&choose) {
    struct Thunk {
      static Window call(void *context, ImageSize size) { return (*static_cast<Choose *>(context))(size); }
    };
    readWith(image, channels, outWidth, outHeight, out, &Thunk::call, &choose);
  }

private:
  void readWith(const ImageBytes &image, int channels, int outWidth, int outHeight, float *out,
                Window (*choose)(void *, ImageSize), void *context);
};

} // namespace gmc::rt

#endif
