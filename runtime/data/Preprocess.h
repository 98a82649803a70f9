// `--augment`: how a picture becomes the graph's input, in training and in evaluation.
#ifndef GMC_DATA_PREPROCESS_H
#define GMC_DATA_PREPROCESS_H

#include "runtime/data/Image.h"
#include "runtime/data/Order.h"
#include "runtime/data/Source.h"

namespace gmc::rt {

/// A comma-separated list:
///   resize=R          the short side is brought to R, the input's size is cut from the middle
///   crop=C            C x C (the input's size) from a random place in training; without resize, of the picture's own
///                     pixels. Without resize and crop, as much of the picture as has the input's shape
///   rrc=C             in training instead: a random area of 8 to 100 %, aspect 3/4 to 4/3, brought to C x C (Szegedy
///                     et al., "Going deeper with convolutions", section 6; ten tries, then the middle)
///   flip              mirrored with probability 1/2, in training
///   jitter=J          brightness, contrast and saturation times factors in [1-J, 1+J], in this order, in training
///   normalize=imagenet|none|M/S   (value - mean) / deviation; pixels are in [0, 1] before (default none)
class Preprocess {
public:
  /// `input` is the graph's, [C,H,W] float with C 1 or 3. Throws Error(ExitUsage).
  Preprocess(const std::string &list, const Slot &input);

  /// The evaluation part in the same syntax.
  std::string evaluation() const;

  /// Loads the picture into `dst`, of the slot's dtype. What is random is a function of (seed, epoch, sample).
  void load(const ImageBytes &image, int64_t sample, char *dst, LoadContext &context) const;

private:
  Window evaluationWindow(ImageSize size) const;
  Window trainingWindow(ImageSize size, Random &random) const;
  void parseItem(const std::string &item);

  Slot input;
  int channels, height, width;
  int resize = 0, crop = 0, rrc = 0;
  bool flip = false;
  double jitter = 0;
  std::string normalize = "none";
  float mean[3] = {0, 0, 0}, deviation[3] = {1, 1, 1};
};

} // namespace gmc::rt

#endif
